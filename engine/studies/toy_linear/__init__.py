"""The linear model of learning: why small singular values matter."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from eigensweep.engine.report import chart_figure
from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.studies.toy import Toy
from eigensweep.engine.studies.toy_linear import summary
from eigensweep.engine.studies.toy_linear.charts import charts
from eigensweep.engine.studies.toy_linear.options import ToyLinearOptions
from eigensweep.engine.studies.toy_linear.study import ToyLinear, open_toy_linear, run_toy_linear
from eigensweep.engine.studies.toy_linear.tables import LAYOUT

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_of(found: ToyLinear) -> View:
    """What the page shows of the study."""
    tables = [
        Table("Lower outliers", [*summary.OUTLIERS.values()], summary.outlier_rows(found), summary.about(found)),
        Table("Spectrum and risk", [*summary.SPECTRUM.values()], summary.spectrum_rows(found)),
    ]
    shown = {"charts": as_data([*charts(found).values()])}
    return View("The linear model of learning", tables=tables, data=shown, facts={"model": summary.about(found)})


def figures_of(found: ToyLinear) -> Mapping[str, Callable[[], "Figure"]]:
    """Its charts for papers."""
    return {f"toy_linear_{name}": partial(chart_figure.draw, chart) for name, chart in charts(found).items()}


REPORTED = register(Reported(LAYOUT, open_toy_linear, view_of, figures_of))
TOY = Toy(ToyLinearOptions, run_toy_linear, summary.render_linear)
