"""What the page draws of a series."""

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule
from eigensweep.engine.report.charts import Series as Drawn
from eigensweep.engine.studies.series import courses
from eigensweep.engine.studies.series.study import Series

COLORS = 7  # of the style sheet: c0 to c6
_PHASES = "How many matrices have which phase at each step, a panel a reading."
_MEASURE = "A line a role over the steps: the sum, mean or median over its matrices whose status is ok."
_VALUES = (
    "The largest singular values of a matrix over the steps, a line a place from the top, in units of the edge of that "
    "step's bulk (dashed); points lie beyond that edge's test, for noise of one scale. Where the rank is too low for a "
    "bulk, as they are."
)


def charts(found: Series) -> list[Chart]:
    """Phases, outliers as trajectories, and every measure by role."""
    scale, threshold = courses.steps_axis(found)
    steps = Axis("training step", scale, threshold)
    panels = [Panel(what, _lines(lines)) for what, lines in courses.phases(found).items()]
    result = []
    if panels:
        count = Axis("matrices")
        result.append(Chart("Phases by step", *courses.phases_title(found), _PHASES, steps, count, panels))
    drawn = courses.trajectories(found)
    for edges, label in ((True, "s / edge"), (False, "singular value")):
        panels = [
            Panel(
                courses.short_name(found, name),
                _ramp(lines),
                rules=[Rule("edge of the bulk", "y", 1.0)] if edges else [],
            )
            for name, lines in drawn.items()
            if courses.has_edges(found, name) is edges
        ]
        if panels:
            seen, note = courses.trajectories_title(found)
            heading = "Outliers as trajectories" if edges else "Singular values of matrices of low rank"
            seen = seen if edges else "The singular values within the rank"
            result.append(Chart(heading, seen, note, _VALUES, steps, Axis(label), panels))
    for heading, lines in courses.measures(found).items():
        panels = [Panel("", _lines(lines))]
        result.append(Chart(heading, *courses.course_title(found, heading), _MEASURE, steps, Axis(heading), panels))
    return result


def _lines(lines: list[courses.Line]) -> list[Drawn]:
    return [
        Drawn(line.name, line.steps, line.y, marks="line+points", color=f"c{i % COLORS}")
        for i, line in enumerate(lines)
    ]


def _ramp(lines: list[courses.Line]) -> list[Drawn]:
    """A line a place, the top one first on the ramp; outliers as points."""
    drawn = []
    for i, line in enumerate(lines):
        color = i / max(1, len(lines) - 1)
        drawn.append(Drawn("", line.steps, line.y, color=color))
        if line.outside is not None and line.outside.any():
            y = np.where(line.outside, line.y, np.nan)
            drawn.append(Drawn("", line.steps, y, marks="points", color=color))
    return drawn
