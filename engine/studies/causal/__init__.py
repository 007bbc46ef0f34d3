"""Fine-tuning of a language model on answers: what it learns, what it forgets, and what becomes of its spectra."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eigensweep.engine.report import chart_figure
from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.causal.charts import charts
from eigensweep.engine.studies.causal.spectra import SPECTRA, spectra_of
from eigensweep.engine.studies.causal.summary import LEARNED, RANKS, answers, cells, learned, named, ranks
from eigensweep.engine.studies.causal.tables import LAYOUT, Causal, open_causal
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.files import write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_of(run: Causal) -> View:
    """What the page shows of the study."""
    frame = spectra_of(run)
    of_ranks = None if frame is None else ranks(frame)
    tables = [Table("What came out", [("", "")], [[line.strip()] for line in answers(run, frame)])]
    for decay in run.trainings():
        for what, table, headings in (("losses and norms", learned(run), LEARNED), ("ranks", of_ranks, RANKS)):
            if table is not None:
                rows = table[table["weight_decay"] == decay].to_dict("records")
                shown = [cells(row, headings) for row in rows]
                tables.append(Table(f"{named(decay).capitalize()}: {what}", [*headings.values()], shown))
    title = f"Fine-tuning of the language model {checkpoint_name(run)}"
    return View(title, tables=tables, data={"charts": as_data([*charts(run).values()])})


def figures_of(run: Causal) -> Mapping[str, Callable[[], "Figure"]]:
    """Its charts for papers."""
    return {f"causal_{name}": partial(chart_figure.draw, chart) for name, chart in charts(run).items()}


def derive(run: Causal, directory: Path) -> None:
    """Write causal_spectra.parquet where the models were swept."""
    frame = spectra_of(run)
    if frame is not None:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        write_table(directory / "causal_spectra.parquet", to_table(SPECTRA, rows))


_LAYOUT = replace(LAYOUT, tables={**LAYOUT.tables, "causal_spectra": SPECTRA})
REPORTED = register(Reported(_LAYOUT, open_causal, view_of, figures_of, derive))
