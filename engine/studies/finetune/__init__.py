"""The fine-tuning study: what removing singular values before or after fine-tuning does, and what fine-tuning moves."""

from dataclasses import replace
from pathlib import Path

from eigensweep.engine.report import style
from eigensweep.engine.report.page import Picture, checkpoint_name, gallery, matters, text_table
from eigensweep.engine.report.registry import Panels, Reported, Section, register
from eigensweep.engine.studies.finetune import drift, figures, summary
from eigensweep.engine.studies.finetune.effects import EFFECTS, LAYOUT, MEASURES, Finetuning, effects, open_finetune
from eigensweep.engine.studies.sweep.study import is_finished, open_run
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.files import write_table

_CURVES = "Loss over steps of every training."
_ORDER = "Change of the held-out loss (above) and accuracy (below) when a decile of the singular values is removed."
_DRIFT = "How far the singular values moved (above), and averaged p-values of the right vectors (below), by rank."


def panels(run: Finetuning, directory: Path) -> Panels:
    """Draw the study's figures, write finetune_effects and spectral_change.parquet; what the page shows of it."""
    folder = directory / "figures"
    curves = style.save(figures.draw_curves(run), folder / "finetune_curves")
    shown = [Picture(curves, *figures.title_of_curves(run), _CURVES)]
    if run.deciles():
        found = {measure: effects(run, measure) for measure in MEASURES}
        rows = [{"measure": measure} | row for measure, of in found.items() for row in of]
        write_table(directory / "finetune_effects.parquet", to_table(EFFECTS, rows))
        title = figures.title(found["loss"], len(set(run.members["seed"])))
        shown.append(Picture(style.save(figures.draw(run, found), folder / "finetune_order"), *title, _ORDER))
    sweeps = [run.directory / "sweeps" / name for name in ("before", "after")] if run.directory else []
    if sweeps and all(is_finished(sweep) for sweep in sweeps):
        before, after = (open_run(sweep) for sweep in sweeps)
        moved = drift.drift(before, after)
        rows = moved.to_dict("records")
        write_table(directory / "spectral_change.parquet", to_table(drift.SPECTRAL_CHANGE, rows))
        png = style.save(drift.draw(before, after), folder / "spectral_change")
        shown.append(Picture(png, *drift.title(moved), _DRIFT))
    sections = [Section("Fine-tuning", gallery(shown)), Section("All models", _numbers(run))]
    return Panels(f"Fine-tuning of {checkpoint_name(run)}", sections)


def _numbers(run: Finetuning) -> str:
    """The summary's tables."""
    parts = [matters(summary.majority(run)), text_table(summary.HEADINGS, summary.models(run), kind="pairs")]
    if found := summary.changes(run):
        parts += [
            "<h3>Changes against the model of the same seed with nothing removed</h3>",
            text_table(summary.EFFECT_HEADINGS, found, kind="pairs"),
        ]
    return "".join(parts)


_DERIVED = {"finetune_effects": EFFECTS, "spectral_change": drift.SPECTRAL_CHANGE}
REPORTED = register(Reported(replace(LAYOUT, tables={**LAYOUT.tables, **_DERIVED}), open_finetune, panels))
