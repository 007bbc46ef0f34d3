"""Lazy against feature learning in small networks: what their smallest singular values are for."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from eigensweep.engine.report import chart_figure
from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, View, register
from eigensweep.engine.studies.toy import Toy
from eigensweep.engine.studies.toy_mlp import summary
from eigensweep.engine.studies.toy_mlp.charts import charts
from eigensweep.engine.studies.toy_mlp.options import ToyMlpOptions
from eigensweep.engine.studies.toy_mlp.study import LAYOUT, ToyMlp, open_toy_mlp, run_toy_mlp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOY = Toy(ToyMlpOptions, run_toy_mlp, summary.render)


def view_of(found: ToyMlp) -> View:
    """What the page shows of the study."""
    tables = [summary.networks_table(found), *(summary.removal_table(found, by) for by in summary.BY)]
    claims = summary.claims_table(found)
    return View(
        f"Lazy and feature learning on {found.manifest['images']}",
        tables=[*tables, *summary.matrix_tables(found), *([claims] if claims else [])],
        facts={"data": found.manifest["images"], **found.manifest["data"]},
        data={"charts": as_data([*charts(found).values()])},
    )


def figures_of(found: ToyMlp) -> Mapping[str, Callable[[], "Figure"]]:
    """Its charts for papers."""
    return {f"toy_mlp_{name}": partial(chart_figure.draw, chart) for name, chart in charts(found).items()}


REPORTED = register(Reported(LAYOUT, open_toy_mlp, view_of, figures_of))
