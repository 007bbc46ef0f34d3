"""The figure of the overlap study: for every role the spectrum above and the overlap below."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import NULL, grouped, known_mean, law, scalar
from eigensweep.engine.studies.overlap.figure_covariances import CENTRED
from eigensweep.engine.studies.overlap.study import Overlap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 36
LEAST = 3  # vectors in a bin whose mean is drawn
HEAD, ROW = 0.74, 2.3  # inches: headline and legend, a row of panels
MAX_DOTS = 3000  # single vectors drawn in a panel
SMALLEST = 0.1  # the share of singular values that counts as the smallest


@dataclass(frozen=True)
class Vectors:
    """The singular vectors of one matrix with their overlaps; arrays (b,) by descending singular value.

    Attributes:
      values: singular values in units of sigma sqrt(max(m, n)).
      low, high: the Marchenko-Pastur edges in that unit.
      overlap: O_k; NaN beyond the numerical rank.
      partner: 1 for an overlap with the axis of the largest eigenvalue of F, r for that of the smallest.
      null, null_99: mean and 99 % quantile of O for a random rotation.
    """

    m: int
    n: int
    values: np.ndarray
    low: float
    high: float
    overlap: np.ndarray
    partner: np.ndarray
    null: float
    null_99: float

    @cached_property
    def right(self) -> np.ndarray:
        """Which lie above the right edge."""
        return self.values > self.high

    @cached_property
    def left(self) -> np.ndarray:
        """Which lie below the left edge."""
        return self.values < self.low

    @cached_property
    def smallest(self) -> np.ndarray:
        """The smallest tenth of those that have an overlap, at least one."""
        known = int(np.isfinite(self.overlap).sum())
        index = np.arange(len(self.overlap))
        return (index < known) & (index >= known - max(1, round(SMALLEST * known)))


def by_role(found: Overlap) -> dict[str, list[Vectors]]:
    """The matrices of a study whose noise level is known, by role (and shape), in the order of roles."""
    swept = found.run.matrices[["name", "sigma", "nu_minus", "nu_plus"]]
    spectra = found.run.spectra[["name", "singular_values"]]
    rows = found.matrices.merge(swept, on="name").merge(spectra, on="name").to_dict("records")
    groups: dict[str, list[Vectors]] = {}
    for label, members in grouped(rows).items():
        for row in members:
            unit = scalar(row, "sigma") * math.sqrt(max(row["m"], row["n"]))
            if not unit > 0:  # NaN too: a matrix of low rank has no bulk
                continue
            vectors = Vectors(
                m=row["m"],
                n=row["n"],
                values=np.asarray(row["singular_values"]) / unit,
                low=row["nu_minus"] / unit,
                high=row["nu_plus"] / unit,
                overlap=np.asarray(row["overlap"], np.float64),
                partner=np.asarray(row["overlap_partner"]) + 1,
                null=row["overlap_null"],
                null_99=row["overlap_null_99"],
            )
            groups.setdefault(label, []).append(vectors)
    return groups


def draw_overlap(groups: dict[str, list[Vectors]], centring: str = "none") -> "Figure":
    """A panel a role: its spectra averaged over blocks (top), the mean overlap by singular value (below)."""
    columns = min(4, len(groups)) if len(groups) not in (5, 6, 9) else 3
    rows = math.ceil(len(groups) / columns)
    height = HEAD + ROW * rows
    figure = style.new_figure(height=height)
    members = [v for group in groups.values() for v in group]
    style.headline(figure, *title(groups, centring))
    left, right, gap = 0.075, 0.99, 0.03
    width = (right - left - gap * (columns - 1)) / columns
    top_limit = min(1.05, 1.08 * max(float(np.nanmax(v.overlap)) for v in members))
    for i, (label, group) in enumerate(groups.items()):
        row, column = divmod(i, columns)
        x, y = left + column * (width + gap), (height - HEAD - ROW * row) / height
        upper = figure.add_axes((x, y - 0.75 / height, width, 0.75 / height))
        lower = figure.add_axes((x, y - 1.8 / height, width, 0.98 / height))
        _panel(upper, lower, label, group, top_limit)
        if column == 0:
            upper.set_ylabel("density of ln ν", labelpad=15)
            lower.set_ylabel("overlap O", labelpad=2)
        else:
            lower.tick_params(labelleft=False)
        if i + columns >= len(groups):
            lower.set_xlabel("ν / (σ √max(m, n))", labelpad=1)
    _legend(figure)
    return figure


def title(groups: dict[str, list[Vectors]], centring: str = "none") -> tuple[str, str]:
    """What the figure shows, in a sentence of numbers; and what the numbers are, F with this `centring`."""
    members = [v for group in groups.values() for v in group]
    said = [f"{known_mean(np.concatenate([v.overlap[~v.right & ~v.left] for v in members])):.2f} in the bulk"]
    for words, side in (("above ν+", "right"), ("below ν−", "left")):
        values = np.concatenate([v.overlap[getattr(v, side)] for v in members])
        if values.size:
            said.append(f"{known_mean(values):.2f} {words}")
    null = float(np.mean([v.null for v in members]))
    seen = f"Overlap with the activations' axes: {', '.join(said)}; at random {null:.2f}"
    return seen, (
        f"O = max |v · f|: v a right singular vector, f the eigenvectors of F, {CENTRED[centring]}; {len(members)} "
        f"matrices in {len(groups)} roles, averaged over blocks"
    )


def _panel(upper: "Axes", lower: "Axes", label: str, members: list[Vectors], top: float) -> None:
    values = np.concatenate([v.values for v in members])
    overlap = np.concatenate([v.overlap for v in members])
    known = np.isfinite(overlap) & (values > NULL * values.max())
    low, high = values[known].min() / 1.05, values[known].max() * 1.05
    bins = np.geomspace(low, high, BINS + 1)
    _spectrum(upper, members, bins)
    _overlaps(lower, members, values[known], overlap[known], bins)
    edges = np.mean([(v.low, v.high) for v in members], axis=0)
    for axes in (upper, lower):
        style.log_axis(axes, "x", low, high)
        for edge in edges:
            if low < edge < high:
                axes.axvline(edge, color=style.INK, lw=0.7, ls=(0, (4, 3)))
    for edge, name, other in zip(edges, ("ν−", "ν+"), (edges[1], edges[0]), strict=True):
        if low < edge < high:
            # Away from the other edge where there is room for two letters.
            room = np.log((edge / low) if edge < other else (high / edge)) > 0.13 * np.log(high / low)
            side = "right" if (edge < other) == bool(room) else "left"
            text = f"{name} " if side == "right" else f" {name}"
            place = upper.get_xaxis_transform()
            upper.text(edge, 1.0, text, transform=place, va="top", ha=side, fontsize=6.5)
    upper.tick_params(labelbottom=False)
    upper.set_title(label, pad=3)
    if len(members) > 1:
        shape = "" if "×" in label else f"{members[0].m}×{members[0].n}, "
        place = lower.transAxes
        note = f"{shape}{len(members)} matrices"
        # At the bottom: no overlap is that small, whatever the dimension.
        lower.text(0.03, 0.01, note, transform=place, va="bottom", fontsize=6, color="#666666")
    lower.set_ylim(0, top)


def _spectrum(axes: "Axes", members: list[Vectors], bins: np.ndarray) -> None:
    """Histogram and law as densities of ln nu, which a logarithmic axis shows with their true areas."""
    step = np.diff(np.log(bins))
    density = np.mean([np.histogram(v.values, bins)[0] / (len(v.values) * step) for v in members], axis=0)
    axes.stairs(density, bins, fill=True, color=style.TRAINED, alpha=0.35, lw=0)
    axes.stairs(density, bins, color=style.TRAINED, lw=0.8)
    first = members[0]
    grid, law_density = law(first.m, first.n, int(first.right.sum()), int(first.left.sum()))
    axes.plot(grid, grid * law_density, color=style.LAW, lw=1.0)
    axes.set_ylim(0, 1.3 * max(float(density.max()), float((grid * law_density).max())))
    axes.set_yticks([])


def _overlaps(axes: "Axes", members: list[Vectors], values: np.ndarray, overlap: np.ndarray, bins: np.ndarray) -> None:
    outside = np.concatenate([(v.right | v.left)[np.isfinite(v.overlap)] for v in members])
    for mask, alpha, size in ((~outside, 0.2, 1.5), (outside, 0.55, 2.5)):
        every = max(1, int(mask.sum()) // MAX_DOTS)
        dots = values[mask][::every], overlap[mask][::every]
        axes.scatter(*dots, s=size, color=style.TRAINED, alpha=alpha, lw=0, rasterized=True)
    coarse = bins[::2]
    place = np.clip(np.digitize(values, coarse) - 1, 0, len(coarse) - 2)
    count = np.bincount(place, minlength=len(coarse) - 1)
    mean = np.bincount(place, overlap, len(coarse) - 1) / np.maximum(count, 1)
    shown = count >= LEAST
    middle = np.sqrt(coarse[1:] * coarse[:-1])[shown]
    axes.plot(middle, mean[shown], color=style.INK, lw=0.9, marker="o", ms=1.8)
    null, null_99 = (float(np.mean([getattr(v, key) for v in members])) for key in ("null", "null_99"))
    axes.axhline(null, color=style.LAW, lw=0.9)
    axes.axhline(null_99, color=style.LAW, lw=0.8, ls=":")


def _legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.TRAINED, lw=0, marker="o", ms=2.5, label="one vector"),
        Line2D([], [], color=style.INK, lw=0.9, marker="o", ms=1.8, label="mean"),
        Line2D([], [], color=style.LAW, lw=1.0, label="Marchenko–Pastur; random rotation: mean"),
        Line2D([], [], color=style.LAW, lw=0.8, ls=":", label="99 % quantile"),
    ]
    height = figure.get_size_inches()[1]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.33 / height), ncols=4)
