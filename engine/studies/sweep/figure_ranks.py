"""Rank plots of all roles: singular value against rank on log axes, one line a matrix."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import NULL, UNIT, Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = "medians over matrices; one line a matrix, dark to light by depth; grey: random control; dashed: right edge ν+"


def title(groups: dict[str, list[Spectrum]]) -> tuple[str, str]:
    """Which role's largest singular value stands highest above its edge, and which one's least."""
    ratios = {role: _top(members) for role, members in groups.items()}
    if len(ratios) == 1:
        role, ratio = next(iter(ratios.items()))
        return f"{role}: the largest singular value is {style.number(ratio)} times the right edge", NOTE
    high, low = max(ratios, key=lambda r: ratios[r]), min(ratios, key=lambda r: ratios[r])
    return (
        f"largest singular value: {style.number(ratios[high])} times the right edge in {high}, "
        f"{style.number(ratios[low])} times in {low}"
    ), NOTE


def _top(members: list[Spectrum]) -> float:
    return float(np.median([s.values[0] / s.edges[1] for s in members]))


def draw(groups: dict[str, list[Spectrum]]) -> "Figure":
    """A panel a role on common axes; blocks coloured by depth, controls grey, the right edge dashed.

    Args:
      groups: spectra by role, at least one role.
    """
    columns = min(len(groups), 3 if -len(groups) % 3 < -len(groups) % 4 else 4)  # the one that leaves fewer gaps
    rows = -(-len(groups) // columns)
    height = 0.95 + 1.5 * rows
    figure = style.new_figure(height=height)
    style.headline(figure, *title(groups))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.075, right=0.985, bottom=0.4 / height, top=1 - 0.6 / height, wspace=0.1, hspace=0.25)
    flat = panels.ravel()
    for axes, (role, members) in zip(flat, groups.items(), strict=False):
        _panel(axes, role, members)
    for axes in flat[len(groups) :]:
        axes.remove()
    values = np.concatenate([s.values[s.values > NULL * s.values[0]] for g in groups.values() for s in g])
    top = 1.5 * max(values.max(), max(s.edges[1] for members in groups.values() for s in members))
    floor = max(min(0.1, float(np.quantile(values, 0.02)) / 1.5), 1e-5 * top)
    style.log_axis(flat[0], "x", 1, max(2, max(s.values.size for members in groups.values() for s in members)))
    style.log_axis(flat[0], "y", floor, top)
    for column in range(columns):
        lowest = flat[max(i for i in range(len(groups)) if i % columns == column)]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("rank", labelpad=1)
    figure.supylabel(UNIT, fontsize=8, x=0.005, y=0.5 - 0.1 / height)
    return figure


def _panel(axes: "Axes", role: str, members: list[Spectrum]) -> None:
    import matplotlib

    depth = matplotlib.colormaps["viridis"]
    last = max((s.block or 0 for s in members), default=0) or 1
    for s in members:
        if s.control:
            _line(axes, s.control.values, color=style.CONTROL, lw=0.5, alpha=0.5)
    for s in members:
        _line(axes, s.values, color=depth(0.85 * (s.block or 0) / last), lw=0.8, alpha=0.9)
    axes.axhline(float(np.mean([s.edges[1] for s in members])), color=style.LAW, lw=0.7, ls=(0, (4, 3)))
    axes.set_title(style.shorten(role, 26), pad=2)
    axes.text(0.98, 0.97, f"ν₁ = {style.number(_top(members))} ν+", transform=axes.transAxes,
              ha="right", va="top", fontsize=7)  # fmt: skip


def _line(axes: "Axes", values: np.ndarray, **kwargs: Any) -> None:
    positive = values[values > NULL * values[0]]
    axes.plot(np.arange(1, positive.size + 1), positive, **kwargs)
