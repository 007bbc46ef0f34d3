"""A role's locally averaged p-values: which singular vectors look unlike random directions."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import Spectrum, by_index, mean_by_index, null_sd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CROWD = 40  # matrices above which single lines would hide the mean
POINTS = 512
WINDOW = 15  # indices that an average takes in
SIDES = {"right": "right singular vectors v (input space)", "left": "left singular vectors u (output space)"}


def title(role: str, members: list[Spectrum], level: float, control: str = "random control") -> tuple[str, str]:
    """What the test says, in numbers; and what the numbers are."""
    right, left = (_rejected(members, side) for side in SIDES)
    seen = f"{role}: {right} right, {left} left vectors have entries that a random direction's would not have"
    notes = [f"sums over {len(members)} matrices" if len(members) > 1 else "one matrix"]
    if without := sum(any(not _tested(s, side) for side in SIDES) for s in members):
        notes.append(f"{without} lack p-values on a side")
    for name, others in ((control, [s.control for s in members]), ("equalised", [s.equalised for s in members])):
        if known := [s for s in others if s]:
            right, left = (sum(getattr(s, f"rejected_{side}") for s in known) for side in SIDES)
            notes.append(f"{name}: {right} and {left}")
    return seen, "; ".join([*notes, f"Benjamini–Hochberg at {level:g} in each"])


def _rejected(members: list[Spectrum], side: str) -> str:
    """ "12 of 384", of the vectors that have a p-value."""
    tested = sum(_tested(s, side) for s in members)
    return f"{sum(getattr(s, f'rejected_{side}') for s in members)} of {tested}" if tested else "none of 0"


def _tested(s: Spectrum, side: str) -> int:
    """How many vectors have a p-value."""
    return int(np.isfinite(getattr(s, f"p_{side}")).sum())


def draw(role: str, members: list[Spectrum], level: float, control: str = "random control") -> "Figure":
    """Averaged p-values over the index, right vectors beside left ones.

    Args:
      role: name of the role.
      members: its spectra, at least one.
      level: of Benjamini-Hochberg.
      control: what the random control is called.
    """
    figure = style.new_figure(height=2.7)
    style.headline(figure, *title(role, members, level, control))
    for left, side in ((0.07, "right"), (0.55, "left")):
        axes = figure.add_axes((left, 0.15, 0.435, 0.57))
        _panel(axes, members, side, control)
        if side == "right":
            axes.set_ylabel(f"p-value, mean of {WINDOW}")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="upper right", bbox_to_anchor=(0.99, 0.9), ncols=len(names), handlelength=1.2)
    return figure


def _panel(axes: "Axes", members: list[Spectrum], side: str, control: str) -> None:
    from matplotlib.ticker import MaxNLocator

    series = [getattr(s, f"p_{side}") for s in members]
    controls = [getattr(s.control, f"p_{side}") for s in members if s.control]
    _bands(axes, members, side)
    _single_matrices(axes, series)
    equalised = [getattr(s.equalised, f"p_{side}") for s in members if s.equalised]
    for others, color, label in ((controls, style.CONTROL, control), (equalised, style.EQUALISED, "equalised")):
        if any(p.size for p in others):
            _line(axes, mean_by_index(others), color=color, lw=1.1, label=label)
    mean = mean_by_index(series)
    shown = sum(bool(np.isfinite(p).any()) for p in series)
    name = "trained" if len(series) == 1 else f"trained, mean of {shown}"
    _line(axes, mean, color=style.TRAINED, lw=1.6, label=name)
    last = int(np.flatnonzero(np.isfinite(mean))[-1]) + 1 if np.isfinite(mean).any() else 0
    if last < WINDOW:  # a few vectors are points, not a curve
        for line in axes.lines:
            line.set(marker="o", markersize=1.5 + 1.5 * line.get_linewidth())
    if not last:
        why = "no p-values: the matrix does not determine\nits vectors, or its entries' kurtosis decides"
        axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color="#666666")
    axes.set_xlim(1, max(2, last))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.set_xlabel("index i (1 = largest singular value)", labelpad=1)
    axes.set_title(SIDES[side], pad=3)


def _bands(axes: "Axes", members: list[Spectrum], side: str) -> None:
    """Where noise's averages lie, one standard deviation either way: one matrix's, and the mean's of several."""
    one, mean = null_sd(members, side)
    bands = [(one, style.FAINT, "null ± 1 s.d." if len(members) == 1 else "null ± 1 s.d., one matrix")]
    if len(members) > 1:
        bands.append((mean, "#bbbbbb", "of the mean"))
    for sd, color, label in bands:
        index = np.arange(1, sd.size + 1)
        axes.fill_between(index, 0.5 - sd, 0.5 + sd, color=color, alpha=0.6, lw=0, label=label)


def _single_matrices(axes: "Axes", series: list[np.ndarray]) -> None:
    """A thin line a matrix; of a crowd the range that holds four in five of them."""
    if len(series) > CROWD:
        padded = by_index(series)
        seen = np.flatnonzero(np.isfinite(padded).any(axis=0))
        low, high = np.nanpercentile(padded[:, seen], (10, 90), axis=0)
        label = "80 % of the matrices"
        axes.fill_between(seen + 1, low, high, color=style.TRAINED, alpha=0.25, lw=0, label=label)
    elif len(series) > 1:
        for p in series:
            _line(axes, p, color=style.TRAINED, lw=0.4, alpha=0.6 / len(series) ** 0.5)


def _line(axes: "Axes", p: np.ndarray, **kwargs: Any) -> None:
    step = max(1, p.size // POINTS)  # neighbours share most of their window
    axes.plot(np.arange(1, p.size + 1, step), p[::step], **kwargs)
