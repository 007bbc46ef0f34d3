"""The removal study: what the model loses when chosen singular values are taken out of chosen matrices."""

from pathlib import Path

from eigensweep.engine.report import style
from eigensweep.engine.report.page import Picture, esc, gallery
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
    numbers = f'<div class="scroll" tabindex="0"><pre>{esc(summary.render(study))}</pre></div>'
    sections = [Section("Removal of singular values", gallery(shown)), Section("All removals", numbers)]
    return Panels("Removal of singular values", sections)


REPORTED = register(Reported(LAYOUT, open_ablation, panels))
