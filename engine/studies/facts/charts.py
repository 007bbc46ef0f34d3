"""What the page draws of a facts study, in the order of its questions; figures for papers are the same charts."""

from collections.abc import Callable

from eigensweep.engine.report.charts import Chart
from eigensweep.engine.studies.facts import depth_charts, shape_charts, stream_charts
from eigensweep.engine.studies.facts.study import Facts

MAKERS: dict[str, Callable[[Facts], Chart | None]] = {
    "tokens": stream_charts.tokens,
    "cosines": stream_charts.cosines,
    "by_block": shape_charts.by_block,
    "shapes": shape_charts.fitted,
    "dimensions": stream_charts.dimensions,
    "ablations": stream_charts.ablations,
    "directions": stream_charts.directions,
    "norms": depth_charts.norms,
    "ranks_weights": depth_charts.weight_ranks,
    "ranks_stream": depth_charts.stream_ranks,
    "ranks_dataset": depth_charts.dataset_ranks,
}
"""Stem of the figure's file -> its chart; None where the study has nothing of the kind."""


def charts(found: Facts) -> dict[str, Chart]:
    """Every chart there is, by the stem of its figure."""
    made = {name: make(found) for name, make in MAKERS.items()}
    return {name: chart for name, chart in made.items() if chart is not None}
