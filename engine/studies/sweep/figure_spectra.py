"""A role's averaged spectrum against the Marchenko-Pastur law, with every singular value beyond the edges."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import (
    NULL,
    UNIT,
    Spectrum,
    bins_of,
    mean_density,
    mean_law,
    median_text,
    shape_text,
    thresholds,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def title(role: str, members: list[Spectrum], control: str = "random control") -> tuple[str, str]:
    """What the figure shows, in a sentence of numbers; and what the numbers are."""
    size = median_text([s.values.size for s in members])
    right, left = _counts(members)
    if right == "–":
        return f"{role}: no test of the edges", f"{shape_text(members)}: fewer than 8 singular values, or no bulk"
    seen = f"{role}: {right} of {size} singular values beyond the right edge, {left} below the left"
    if equalised := [s.equalised for s in members if s.equalised]:
        seen += "; {} and {} equalised".format(*_counts(equalised))
    notes = [f"median over {len(members)} matrices" if len(members) > 1 else "one matrix"]
    if controls := [s.control for s in members if s.control]:
        notes.append("{}: {} and {}".format(control, *_counts(controls)))
    ranks = [int(np.count_nonzero(s.values)) for s in members]
    if any(rank < s.values.size for rank, s in zip(ranks, members, strict=True)):
        notes.append(f"numerical rank {median_text(ranks)}")
    shape = shape_text(members)
    return seen, "; ".join([*notes, f"{shape}, edges averaged" if "shapes" in shape else shape])


def _counts(spectra: list[Spectrum]) -> tuple[str, str]:
    tested = [s for s in spectra if s.tested]
    return median_text([s.right for s in tested]), median_text([s.left for s in tested])


def draw(role: str, members: list[Spectrum], level: float = 0.01, control: str = "random control") -> "Figure":
    """The averaged spectrum, as it is and equalised (top), and what lies at the edges, matrix by matrix (below).

    Args:
      role: name of the role.
      members: its spectra, at least one.
      level: level of the outlier tests; sets the dotted lines.
      control: what the random control is called.
    """
    figure = style.new_figure(height=4.2)
    style.headline(figure, *title(role, members, control))
    equalised = [s.equalised for s in members if s.equalised]
    width, height = (0.425 if equalised else 0.905), 0.33
    axes = figure.add_axes((0.075, 0.5, width, height))
    _histogram(axes, members, style.TRAINED, "trained", control)
    panels = [axes]
    if equalised:
        panels.append(figure.add_axes((0.555, 0.5, width, height)))
        _histogram(panels[1], equalised, style.EQUALISED, "equalised", "")
        for panel, name, of in zip(
            panels, ("as it is", "rows and columns equalised"), (members, equalised), strict=True
        ):
            panel.set_title("{}: {} right, {} left".format(name, *_counts(of)), pad=3, fontsize=7.5)
        limits = [max(x) for x in zip(*((p.get_xlim()[1], p.get_ylim()[1]) for p in panels), strict=True)]
        for panel in panels:
            panel.set(xlim=(0, limits[0]), ylim=(0, limits[1]))
        panels[1].set_ylabel("")
    entries: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(entries.values(), entries, loc="upper right", bbox_to_anchor=(0.99, 0.925), ncols=len(entries))
    left = figure.add_axes((0.075, 0.1, 0.4, 0.26))
    _strip(left, members, level, side="left")
    _strip(figure.add_axes((0.545, 0.1, 0.435, 0.26)), members, level, side="right")
    return figure


def _histogram(axes: "Axes", members: list[Spectrum], color: str, name: str, control: str) -> None:
    bins = bins_of(members)
    density = mean_density(members, bins)
    controls = [s.control for s in members if s.control]
    axes.stairs(density, bins, fill=True, color=color, alpha=0.35, lw=0)
    axes.stairs(density, bins, color=color, lw=0.9, label=name)
    if controls:
        axes.stairs(mean_density(controls, bins), bins, color=style.CONTROL, lw=0.9, label=control)
    grid, law = mean_law(members)
    axes.plot(grid, law, color=style.LAW, lw=1.3, label="Marchenko–Pastur: the bulk's share")
    # A spike of zeros (low rank) may not flatten everything else.
    ceiling = 1.25 * max(law.max(), np.sort(density)[-2])
    axes.set_ylim(0, min(ceiling, 4 * law.max()))
    axes.set_xlim(0, bins[-1])
    for position, edge in zip(_edges(members), ("ν−", "ν+"), strict=True):
        if position > 0:
            axes.axvline(position, color=style.INK, lw=0.7, ls=(0, (4, 3)))
            axes.text(position, 0.98, f" {edge}", transform=axes.get_xaxis_transform(), va="top", fontsize=7)
    axes.set_xlabel(f"singular value {UNIT}", labelpad=1)
    axes.set_ylabel("density")
    _say_what_is_cut(axes, members, density, bins)


def _say_what_is_cut(axes: "Axes", members: list[Spectrum], density: np.ndarray, bins: np.ndarray) -> None:
    beyond = sum(int(np.sum(s.values > bins[-1])) for s in members)
    notes = []
    if beyond:
        share = beyond / sum(s.values.size for s in members)
        notes.append(f"{100 * share:.2g} % of the values\nlie beyond this axis →")
    if density.max() > axes.get_ylim()[1]:
        notes.append(f"highest bin: {density.max():.3g}")
    axes.text(0.995, 0.36, "\n".join(notes), transform=axes.transAxes, ha="right", fontsize=7)


def _edges(members: list[Spectrum]) -> np.ndarray:
    return np.mean([s.edges for s in members], axis=0)


def _strip(axes: "Axes", members: list[Spectrum], level: float, *, side: str) -> None:
    """Singular values near one edge: a row a matrix, outliers in colour; the controls' in the lowest row."""
    limit = thresholds(members, level)[0 if side == "left" else 1]
    edge = _edges(members)[0 if side == "left" else 1]
    low, high = _strip_limits(members, side, edge, limit)
    rows, row_height = len(members), 0.8
    for row, spectrum in enumerate(members):
        count = spectrum.values.size
        index = np.arange(count)
        out = index < spectrum.right if side == "right" else index >= count - spectrum.left
        near = (spectrum.values >= low) & (spectrum.values <= high)
        for mask, color, width in ((near & ~out, "#a9b8c4", 0.5), (near & out, style.TRAINED, 0.9)):
            axes.vlines(spectrum.values[mask], row, row + row_height, color=color, lw=width)
    controls = [s.control.values for s in members if s.control]
    depth = max(1.0, 0.2 * rows) if controls else 0.0  # of the controls' common row, below the others
    if controls:
        values = np.concatenate(controls)
        near = (values >= low) & (values <= high)
        axes.vlines(values[near], -depth, -0.2 * depth, color=style.CONTROL, lw=0.5)
    axes.set_ylim(-depth - 0.1, rows)
    style.log_axis(axes, "x", low, high)
    if low < edge < high:
        axes.axvline(edge, color=style.INK, lw=0.7, ls=(0, (4, 3)))
    if low < limit < high:
        axes.axvline(limit, color=style.LAW, lw=1.0, ls=":")
    _name_rows(axes, members, row_height / 2, -0.6 * depth if controls else None)
    axes.set_xlabel(UNIT, labelpad=1)
    total = sum(getattr(s, side) for s in members) if any(s.tested for s in members) else "no test"
    where = "below ν−" if side == "left" else "above ν+"
    axes.set_title(f"{total} {where}, beyond noise of one scale at level {level:g} (dotted)", pad=3, fontsize=7.5)


def _strip_limits(members: list[Spectrum], side: str, edge: float, limit: float) -> tuple[float, float]:
    """The range of a strip: from a little inside the bulk past `limit` to the outermost value of all."""
    everything = [s.values for s in members] + [s.control.values for s in members if s.control]
    if side == "right":
        return 0.93 * edge, 1.08 * max(limit, *(v[0] for v in everything))
    smallest = [v[v > NULL * v[0]][-1] for v in everything if v[0] > 0] or [0.1]
    inside = 1.08 * edge if edge > 0.05 else max(8 * float(np.median(smallest)), 0.02)
    return max(0.93 * min(limit, 0.95 * inside, *smallest), 1e-6), inside


def _name_rows(axes: "Axes", members: list[Spectrum], middle: float, control: float | None) -> None:
    every = max(1, -(-len(members) // 8))
    named = [i for i in range(0, len(members), every) if members[i].block is not None]
    ticks, labels = [i + middle for i in named], [f"block {members[i].block}" for i in named]
    if control is not None:
        ticks, labels = [control, *ticks], ["control", *labels]
    axes.set_yticks(ticks, labels, fontsize=6.5)
    axes.tick_params(axis="y", length=0, pad=2)
