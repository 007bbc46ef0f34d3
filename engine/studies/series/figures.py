"""The figures of a series for papers: phases, measures by role, outliers as trajectories."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from eigensweep.engine.report import style
from eigensweep.engine.studies.series import courses
from eigensweep.engine.studies.series.courses import Line
from eigensweep.engine.studies.series.study import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAD, ROW, LEGEND = 0.62, 1.75, 0.34  # inches: headline, a row of panels, the legend below


def draw_phases(found: Series) -> "Figure":
    """How many matrices have which phase, a panel a reading."""
    return _grid(found, courses.phases(found), courses.phases_title(found), columns=2, label="matrices")


def draw_measures(found: Series) -> "Figure":
    """A panel a measure, a line a role."""
    return _grid(found, courses.measures(found), courses.measures_title(found), columns=3, label="")


def draw_trajectories(found: Series) -> "Figure":
    """A panel a matrix: its largest singular values in units of the edge, outliers as filled points."""
    import matplotlib

    panels = courses.trajectories(found)
    figure, axes_of = _panels(len(panels), 3, courses.trajectories_title(found), legend=False)
    ramp = matplotlib.colormaps["viridis"]
    for axes, (name, lines) in zip(axes_of, panels.items(), strict=True):
        edges = courses.has_edges(found, name)
        for i, line in enumerate(lines):
            color = ramp(0.9 * i / max(1, len(lines) - 1))
            axes.plot(line.steps, line.y, color=color, lw=0.8)
            if line.outside is not None:
                axes.plot(line.steps[line.outside], line.y[line.outside], "o", ms=2.4, color=color)
        if edges:
            axes.axhline(1.0, color=style.LAW, ls="--", lw=0.8)
        axes.set_title(courses.short_name(found, name), pad=3)
        axes.set_ylabel("s / edge" if edges else "s", labelpad=1)
        _steps(found, axes)
    return figure


def _grid(found: Series, panels: dict[str, list[Line]], title: tuple[str, str], columns: int, label: str) -> "Figure":
    figure, axes_of = _panels(len(panels), columns, title, legend=True)
    names: dict[str, int] = {}
    for lines in panels.values():
        for line in lines:
            names.setdefault(line.name, len(names))
    handles = {}
    for axes, (heading, lines) in zip(axes_of, panels.items(), strict=True):
        for line in lines:
            turn, kind = divmod(names[line.name], len(style.CYCLE))
            color, marker, ls = style.CYCLE[kind], style.MARKERS[kind], "--" if turn else "-"
            (handles[line.name],) = axes.plot(line.steps, line.y, ms=3, color=color, marker=marker, ls=ls)
        axes.set_title(heading, pad=3)
        axes.set_ylabel(label, labelpad=1)
        known = [y for line in lines for y in line.y if math.isfinite(y)]
        axes.set_ylim(min(0.0, 1.1 * min(known)), 1.1 * max(known) or 1.0)
        _steps(found, axes)
    shown = sorted(handles, key=names.__getitem__)
    figure.legend(
        [handles[n] for n in shown], [style.shorten(n, 24) for n in shown], loc="lower center", ncols=6, fontsize=6.5
    )
    return figure


def _panels(number: int, columns: int, title: tuple[str, str], legend: bool) -> "tuple[Figure, Sequence[Axes]]":
    columns = max(1, min(columns, number))
    rows = max(1, math.ceil(number / columns))
    height = HEAD + ROW * rows + LEGEND * legend
    figure = style.new_figure(height=height)
    style.headline(figure, *title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    bottom = (0.38 + LEGEND * legend) / height
    figure.subplots_adjust(left=0.08, right=0.985, top=1 - HEAD / height, bottom=bottom, wspace=0.3, hspace=0.5)
    for axes in grid[number:]:
        axes.set_axis_off()
    for axes in grid[max(0, number - columns) : number]:
        axes.set_xlabel("training step", labelpad=1)
    return figure, list(grid[:number])


def _steps(found: Series, axes: "Axes") -> None:
    """The axis of the steps: logarithmic, with a linear piece where step 0 is there."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    scale, threshold = courses.steps_axis(found)
    if scale == "log":
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=threshold, linscale=0.5)
    steps = sorted({int(step) for step in found.matrices["step"]})
    axes.set_xlim(-0.3 * threshold if steps[0] == 0 else steps[0] / 1.25, 1.25 * max(steps[-1], threshold))
    shown = steps[:: max(1, -(-len(steps) // 5))]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
