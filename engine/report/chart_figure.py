"""A chart of the page as a figure for papers: the same data, sentence, axes and names, drawn by matplotlib."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.charts import Amount, Axis, Chart, Grid, Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {
    "raw": style.TRAINED, "law": style.LAW, "control": style.CONTROL, "equalised": style.EQUALISED, "ink": style.INK,
    **{f"c{i}": color for i, color in enumerate(style.CYCLE[:7])},
}  # fmt: skip
SIGNED = ("#0b4f8a", "#5b9bd0", "#f1f1ee", "#e39a4a", "#8f4a00")  # the page's
HEAD, LEGEND, AXES, GAP = 0.42, 0.2, 1.55, 0.62  # inches: headline, a row of the legend, a panel, what is below it
MOST = 12  # panels; of more, as many evenly spaced ones
_SAMPLES = 5  # names of a ramp
_LINE = 118  # characters of a legend's row
_LABELS = 24  # rows or columns of a grid that are named


def draw(chart: Chart, abreast: int = 3) -> "Figure":
    """The chart with at most `abreast` panels in a row."""
    panels = _evenly(chart.panels, MOST)
    columns = min(abreast, len(panels)) if len(panels) != 4 else 2
    rows = math.ceil(len(panels) / columns)
    names = [] if chart.amount else _legend([panel for panel in panels if isinstance(panel, Panel)])
    abreast = max(1, min(6, _LINE // (5 + max((len(handle.get_label()) for handle in names), default=0))))
    tall = AXES if chart.amount is None else max(AXES, 0.085 * max(len(p.rows) for p in panels if isinstance(p, Grid)))
    head = HEAD + LEGEND * math.ceil(len(names) / abreast) + 0.16
    height = head + rows * (tall + GAP) - 0.1
    figure = style.new_figure(height=height)
    style.headline(figure, chart.seen or chart.heading, chart.note)
    left, right, between = (0.085, 0.99, 0.035) if chart.amount is None else (0.09, 0.925, 0.05)
    width = (right - left - between * (columns - 1)) / columns
    limits = None if chart.amount else {a: _limits(getattr(chart, a), _values(panels, a)) for a in ("x", "y")}
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        bottom = 1 - (head + row * (tall + GAP) + tall) / height
        axes = figure.add_axes((left + column * (width + between), bottom, width, tall / height))
        axes.set_title(style.shorten(panel.title, 44 if columns > 2 else 70), pad=3, fontsize=7.5)
        if isinstance(panel, Grid):
            assert chart.amount is not None
            image = _grid(axes, panel, chart.amount)
        else:
            assert limits is not None
            _panel(axes, panel, chart, limits)
        below = i + columns >= len(panels)
        axes.set_xlabel(chart.x.label if below else "", labelpad=1)
        axes.set_ylabel(chart.y.label if column == 0 else "", labelpad=2)
        if column and (chart.amount is None or panel.rows == panels[0].rows):  # type: ignore[union-attr]
            axes.tick_params(labelleft=False)
    if chart.amount:
        _scale(figure, image, chart.amount, height, head)
    elif names:
        figure.legend(
            handles=names, loc="upper left", bbox_to_anchor=(0.005, 1 - (HEAD - 0.06) / height), ncols=abreast,
            borderaxespad=0.0, handlelength=1.4, columnspacing=1.2,
        )  # fmt: skip
    return figure


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _color(color: str | float) -> Any:
    import matplotlib

    return COLORS[color] if isinstance(color, str) else matplotlib.colormaps["viridis"](0.92 * color)


def _values(panels: Sequence[Any], which: str) -> np.ndarray:
    """All numbers that lie along one axis."""

    def found() -> Iterator[Any]:
        for panel in panels:
            for series in panel.series:
                yield getattr(series, which)
                if which == "y" and series.low is not None:
                    yield from (series.low, series.high)
            for band in panel.bands:
                yield from (band.x,) if which == "x" else (band.low, band.high)
            yield [rule.at for rule in panel.rules if rule.axis == which]

    return np.concatenate([np.asarray(values, np.float64).ravel() for values in found()] or [np.zeros(1)])


def _limits(axis: Axis, values: np.ndarray) -> tuple[float, float]:
    if axis.limits is not None:
        return axis.limits
    values = values[np.isfinite(values) & ((values > 0) | (axis.scale != "log"))]
    if not values.size:
        return (0.1, 1.0) if axis.scale == "log" else (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if axis.scale == "log":
        factor = max((high / low) ** 0.05, 1.02)
        return low / factor, high * factor
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _panel(axes: "Axes", panel: Panel, chart: Chart, limits: dict[str, tuple[float, float]]) -> None:
    for which in ("x", "y"):
        of: Axis = getattr(chart, which)
        if of.scale == "log":
            style.log_axis(axes, which, *limits[which])
        else:
            if of.scale == "symlog":
                getattr(axes, f"set_{which}scale")("symlog", linthresh=of.threshold)
                getattr(axes, f"{which}axis").set_major_formatter(_plain)
            getattr(axes, f"set_{which}lim")(*limits[which])
        if of.ticks:
            getattr(axes, f"set_{which}ticks")([at for at, _ in of.ticks], labels=[text for _, text in of.ticks])
    for band in panel.bands:
        axes.fill_between(band.x, band.low, band.high, color=_color(band.color), alpha=0.2, lw=0)
    for rule in panel.rules:
        line = axes.axvline if rule.axis == "x" else axes.axhline
        line(rule.at, color=_color(rule.color), lw=0.8, ls="--" if rule.dashed else "-")
    for series in panel.series:
        _series(axes, series)
    note = "\n".join(style.shorten(part, 48) for part in panel.note.split("; "))
    axes.text(0.02, 0.03, note, transform=axes.transAxes, fontsize=5.5, color="#666666", va="bottom")


def _plain(value: float, place: int | None = None) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _series(axes: "Axes", series: Series) -> None:
    color = _color(series.color)
    if series.low is not None and series.high is not None:
        axes.vlines(series.x, series.low, series.high, color=color, lw=1.0)
    axes.plot(series.x, series.y, color=color, **_marks(series.marks))


def _marks(marks: str) -> dict[str, Any]:
    dots = {"marker": "o", "ms": 1.3 if marks == "dots" else 2.6, "mew": 0}
    return {"lw": 1.0 if "line" in marks else 0, **(dots if marks != "line" else {})}


def _legend(panels: Sequence[Panel]) -> list[Any]:
    """A handle a name; of a ramp some, evenly spaced."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: dict[str, Any] = {}
    for panel in panels:
        marks: tuple[Any, ...] = (*panel.bands, *panel.series, *panel.rules)
        for each in marks:
            if each.name:
                found.setdefault(each.name, each)
    ramp = [each for each in found.values() if not isinstance(each.color, str)]
    shown = {each.name for each in _evenly(sorted(ramp, key=lambda each: each.color), _SAMPLES)}
    handles: list[Any] = []
    for name, each in found.items():
        label = style.shorten(name, 40)
        if isinstance(each, Series):
            if isinstance(each.color, str) or name in shown:
                handles.append(Line2D([], [], color=_color(each.color), label=label, **_marks(each.marks)))
        elif hasattr(each, "axis"):
            handles.append(Line2D([], [], color=_color(each.color), ls=["-", "--"][each.dashed], lw=0.8, label=label))
        else:
            handles.append(Patch(color=_color(each.color), alpha=0.2, lw=0, label=label))
    return handles


def _grid(axes: "Axes", grid: Grid, amount: Amount) -> Any:
    from matplotlib.colors import LinearSegmentedColormap, Normalize, SymLogNorm

    low, high = amount.limits
    if amount.threshold:
        norm: Any = SymLogNorm(amount.threshold, vmin=low, vmax=high, base=10)
    else:
        norm = Normalize(low, high)
    ramp: Any = LinearSegmentedColormap.from_list("signed", SIGNED) if amount.signed else "cividis"
    cells = np.asarray(grid.values, np.float64).reshape(len(grid.rows), len(grid.columns))
    image = axes.imshow(cells, aspect="auto", interpolation="nearest", norm=norm, cmap=ramp)
    for which, names in (("x", grid.columns), ("y", grid.rows)):
        room = _LABELS if which == "y" else _LABELS // 3
        places = range(0, len(names), max(1, -(-len(names) // room)))
        getattr(axes, f"set_{which}ticks")([*places], labels=[style.shorten(names[i], 12) for i in places])
    axes.tick_params(length=0, labelsize=5.5 if len(grid.rows) > 16 else 6.5)
    axes.tick_params(axis="x", labelsize=6)
    return image


def _scale(figure: "Figure", image: Any, amount: Amount, height: float, head: float) -> None:
    place = figure.add_axes((0.938, 1 - (head + 1.4) / height, 0.012, 1.4 / height))
    bar = figure.colorbar(image, cax=place, format=_plain)
    bar.outline.set_linewidth(0)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=5.5, length=2)
    bar.ax.set_title(style.shorten(amount.label, 26), fontsize=6, loc="right", pad=3)
