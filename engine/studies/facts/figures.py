"""The figures of a facts study: its charts, drawn for papers when they are asked for."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from eigensweep.engine.report import chart_figure
from eigensweep.engine.studies.facts.charts import charts
from eigensweep.engine.studies.facts.study import Facts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(found: Facts) -> Mapping[str, Callable[[], "Figure"]]:
    """By the stem of their files."""
    return {f"facts_{name}": partial(chart_figure.draw, chart) for name, chart in charts(found).items()}
