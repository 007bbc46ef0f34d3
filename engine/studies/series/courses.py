"""What is drawn of a series, for the page and for papers: phases, measures by role, and outliers, over the steps."""

from dataclasses import dataclass

import numpy as np

from eigensweep.engine.report.spectrum import checkpoint_name, scalar
from eigensweep.engine.report.style import number, shorten
from eigensweep.engine.studies.series.study import MOST, Series
from eigensweep.engine.studies.series.summary import MEASURES, by_role, phases_in, reading_of, step_table

MOST_PANELS = 12


@dataclass(frozen=True)
class Line:
    """y over the steps; `outside` says where y is an outlier of its step, None where that was not asked."""

    name: str
    steps: np.ndarray
    y: np.ndarray
    outside: np.ndarray | None = None


def steps_axis(found: Series) -> tuple[str, float]:
    """The scale of the steps' axis, and up to where it is linear: log, with a linear piece where step 0 is there."""
    steps = sorted({int(step) for step in found.matrices["step"]})
    positive = [step for step in steps if step > 0]
    return ("symlog" if steps[0] == 0 else "log"), float(positive[0] if positive else 1)


def phases(found: Series) -> dict[str, list[Line]]:
    """Reading -> a line a phase: how many matrices have it."""
    result = {}
    readings = dict.fromkeys(("", reading_of(found)))
    for prefix in readings:
        table = step_table(found, prefix)
        if lines := [Line(x, table["step"].to_numpy(float), table[x].to_numpy(float)) for x in phases_in(table)]:
            result["rows and columns of one scale" if prefix else "as they are"] = lines
    return result


def measures(found: Series) -> dict[str, list[Line]]:
    """Heading of a measure -> a line a role."""
    courses = {heading: by_role(found, column) for column, heading in MEASURES.items()}
    return {h: [Line(role, *course) for role, course in roles.items()] for h, roles in courses.items() if roles}


def trajectories(found: Series) -> dict[str, list[Line]]:
    """Name of a matrix -> its largest singular values over the steps, in units of the edge where it was tested.

    Of the matrices that have an outlier at some step, then of those with too low a rank for a bulk, MOST_PANELS with
    most values to follow, in the model's order.
    """
    frame = found.values[found.values["side"] == "right"]
    if not len(frame):
        return {}
    outside = frame["outside"].eq(True).groupby(frame["name"], sort=False).any()
    most = frame.groupby("name", sort=False)["rank"].max()
    ranked = sorted(outside.index, key=lambda name: (not outside[name], -most[name]))[:MOST_PANELS]
    chosen = [name for name in dict.fromkeys(frame["name"]) if name in ranked]
    result = {}
    for name in chosen:
        lines = []
        for rank, part in frame[frame["name"] == name].groupby("rank", sort=True):
            edge = part["edge"].to_numpy(np.float64)
            y = part["value"].to_numpy(np.float64) / (edge if np.isfinite(edge).all() else 1.0)
            lines.append(Line(str(rank), part["step"].to_numpy(float), y, part["outside"].eq(True).to_numpy(bool)))
        result[str(name)] = lines
    return result


def short_name(found: Series, name: str) -> str:
    """What a panel calls a matrix: its role and block where that tells it from all others."""
    row = found.values[found.values["name"] == name].iloc[0]
    alike = found.values[(found.values["role"] == row["role"]) & found.values["block"].eq(row["block"])]
    if np.isfinite(scalar(row, "block")) and alike["name"].nunique() == 1:
        return f"{row['role']}, block {row['block']}"
    return shorten(name, 40)


def has_edges(found: Series, name: str) -> bool:
    """Whether the values of a matrix are drawn in units of its edge."""
    return bool(np.isfinite(found.values.loc[found.values["name"] == name, "edge"].to_numpy(np.float64)).all())


def phases_title(found: Series) -> tuple[str, str]:
    """How many matrices read random-like at the first step and at the last."""
    prefix = reading_of(found)
    table = step_table(found, prefix)
    first, last = (row for row in (table.iloc[0], table.iloc[-1]))
    what = "rows and columns of one scale" if prefix else "matrices as they are"
    seen = (
        f"{first['random-like']:.0f} of {first['matrices']:.0f} matrices read random-like at step {first['step']:.0f}, "
        f"{last['random-like']:.0f} of {last['matrices']:.0f} at step {last['step']:.0f}"
    )
    return seen, f"{checkpoint_name(found)}; {what}"


def measures_title(found: Series) -> tuple[str, str]:
    """The role whose number of values beyond the right edge changes most from the first step to the last."""
    note = f"{checkpoint_name(found)}; sums, means or medians over the matrices of a role"
    courses = {
        role: y for role, (_, y) in by_role(found, "num_right_outliers").items() if np.isfinite(y[[0, -1]]).all()
    }
    if not courses:
        return "No role was tested at the right edge both at the first step and at the last", note
    role = max(courses, key=lambda r: abs(courses[r][-1] - courses[r][0]))
    first, last = courses[role][0], courses[role][-1]
    if first == last:
        return "No role gains or loses values beyond the right edge from the first step to the last", note
    return f"{role}: {first:g} values beyond the right edge at the first step, {last:g} at the last", note


def course_title(found: Series, heading: str) -> tuple[str, str]:
    """The role whose measure changes most from its first step to its last."""
    note = f"{checkpoint_name(found)}; {heading}"
    ends = {line.name: line.y[np.isfinite(line.y)][[0, -1]] for line in measures(found)[heading]}
    role = max(ends, key=lambda name: abs(ends[name][1] - ends[name][0]))
    first, last = map(number, ends[role])
    if first == last:
        return f"{heading}: no role changes from its first step to its last", note
    return f"{role}: {first} at its first step, {last} at its last", note


def trajectories_title(found: Series) -> tuple[str, str]:
    """How many values are outside at the first step and at the last, in all matrices."""
    table = step_table(found)
    first, last = table.iloc[0], table.iloc[-1]
    note = f"{checkpoint_name(found)}; drawn: at most {MOST} values of {MOST_PANELS} matrices, those with most of them"
    if not np.isfinite([first["right"], last["right"]]).all():
        return "The largest singular values of matrices of too low a rank for a bulk", note
    seen = f"{first['right']:.0f} values lie beyond the right edge at step {first['step']:.0f}, {last['right']:.0f} "
    return f"{seen}at step {last['step']:.0f}", note
