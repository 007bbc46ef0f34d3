"""The removal study: what the model loses when chosen singular values are taken out of chosen matrices."""

from pathlib import Path

from eigensweep.engine.report import style
from eigensweep.engine.report.page import Picture, checkpoint_name, esc, gallery, matters, text_table
from eigensweep.engine.report.registry import Panels, Reported, Section, register
from eigensweep.engine.studies.ablation import summary
from eigensweep.engine.studies.ablation.figures import draw, title
from eigensweep.engine.studies.ablation.study import LAYOUT, Ablation, open_ablation

PER_FIGURE = 12  # panels; a study of single matrices makes several figures
_READING = (
    "Change of the loss by decile of the singular values, with outliers and their controls beside it; insets: spectrum "
    "and averaged p-values of the same matrices."
)


def panels(study: Ablation, directory: Path) -> Panels:
    """Draw the study's figures into `directory`/figures; what the page shows of it."""
    scopes = [scope for scope in dict.fromkeys(study.results["scope"]) if scope]
    shown = []
    for start in range(0, len(scopes), PER_FIGURE):
        stem = directory / "figures" / (f"ablation_{start // PER_FIGURE + 1}" if start else "ablation")
        png = style.save(draw(study, scopes[start : start + PER_FIGURE]), stem)
        shown.append(Picture(png, *title(study), _READING))
    sections = [Section("Removal of singular values", gallery(shown)), Section("All removals", _numbers(study))]
    return Panels(f"Removal of singular values from {checkpoint_name(study)}", sections)


def _numbers(study: Ablation) -> str:
    """The summary's tables."""
    removals = text_table(summary.HEADINGS, summary.removals(study), kind="pairs")
    parts = [matters(summary.baseline(study)), removals]
    if found := summary.verdicts(study):
        parts += [f"<h3>{esc(summary.CONTRAST)}</h3>", text_table(summary.CONTRAST_HEADINGS, found)]
    return "".join(parts)


REPORTED = register(Reported(LAYOUT, open_ablation, panels))
