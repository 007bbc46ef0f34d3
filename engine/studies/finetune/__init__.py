"""The fine-tuning study: what removing singular values before or after fine-tuning does, and what fine-tuning moves."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.finetune import drift, figures, summary
from eigensweep.engine.studies.finetune.charts import charts
from eigensweep.engine.studies.finetune.effects import EFFECTS, LAYOUT, MEASURES, Finetuning, effects, open_finetune
from eigensweep.engine.studies.sweep.study import Run, is_finished, open_run
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.files import write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_of(run: Finetuning) -> View:
    """What the page shows of the study: the summary's tables."""
    named = [(name, "") for name in summary.HEADINGS]
    tables = [Table("All models", named, summary.models(run), summary.majority(run))]
    if found := summary.changes(run):
        caption = "Changes against the model of the same seed with nothing removed"
        tables.append(Table(caption, [(name, "") for name in summary.EFFECT_HEADINGS], found))
    return View(
        f"Fine-tuning of {checkpoint_name(run)}", tables=tables, data={"charts": as_data(charts(run, _sweeps(run)))}
    )


def figures_of(run: Finetuning) -> Mapping[str, Callable[[], "Figure"]]:
    """The trainings' curves, the order's effect where deciles were removed, what moved where spectra were taken."""
    drawn: dict[str, Callable[[], Figure]] = {"finetune_curves": partial(figures.draw_curves, run)}
    if run.deciles():
        drawn["finetune_order"] = lambda: figures.draw(run, {measure: effects(run, measure) for measure in MEASURES})
    if sweeps := _sweeps(run):
        drawn["spectral_change"] = partial(drift.draw, *sweeps)
    return drawn


def derive(run: Finetuning, directory: Path) -> None:
    """Write finetune_effects and spectral_change.parquet, as far as the study has what they need."""
    if run.deciles():
        rows = [{"measure": measure} | row for measure in MEASURES for row in effects(run, measure)]
        write_table(directory / "finetune_effects.parquet", to_table(EFFECTS, rows))
    if sweeps := _sweeps(run):
        rows = drift.drift(*sweeps).to_dict("records")
        write_table(directory / "spectral_change.parquet", to_table(drift.SPECTRAL_CHANGE, rows))


def _sweeps(run: Finetuning) -> tuple[Run, Run] | None:
    """The sweeps before and after fine-tuning, where both are there."""
    folders = [run.directory / "sweeps" / name for name in ("before", "after")] if run.directory else []
    return (open_run(folders[0]), open_run(folders[1])) if folders and all(map(is_finished, folders)) else None


_DERIVED = {"finetune_effects": EFFECTS, "spectral_change": drift.SPECTRAL_CHANGE}
_LAYOUT = replace(LAYOUT, tables={**LAYOUT.tables, **_DERIVED})
REPORTED = register(Reported(_LAYOUT, open_finetune, view_of, figures_of, derive))
