"""Slicing: a narrower residual stream, its matrices smaller, and the loss that it costs."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from eigensweep.engine.report import chart_figure
from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.slicing import summary
from eigensweep.engine.studies.slicing.charts import charts
from eigensweep.engine.studies.slicing.slicer import SliceOptions
from eigensweep.engine.studies.slicing.study import Slicing, open_slicing, run_slicing
from eigensweep.engine.studies.slicing.tables import LAYOUT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["REPORTED", "SliceOptions", "Slicing", "figures_of", "open_slicing", "run_slicing", "view_of"]


def view_of(study: Slicing) -> View:
    """What the page shows of the study."""
    title = f"Narrower residual streams of {checkpoint_name(study)}"
    columns = [(name, "") for name in summary.HEADINGS]
    said = f"{summary.baseline(study)}. {summary.source(study)}. {summary.note(study)}. {summary.READING}"
    table = Table("Loss by width", columns, summary.members(study), said)
    return View(title, tables=[table], data={"charts": as_data(charts(study))})


def figures_of(study: Slicing) -> Mapping[str, Callable[[], "Figure"]]:
    """Changes of loss and accuracy by width, and the eigenvalues."""
    names = ("slicing_loss", "slicing_accuracy", "slicing_eigenvalues")
    return {name: partial(chart_figure.draw, chart) for name, chart in zip(names, charts(study), strict=True)}


REPORTED = register(Reported(LAYOUT, open_slicing, view_of, figures_of))
