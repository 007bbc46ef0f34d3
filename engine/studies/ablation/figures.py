"""The figure of a removal study: a panel a scope, the loss's change by decile, insets with spectrum and p-values."""

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import (
    Spectrum,
    bins_of,
    by_role,
    mean_by_index,
    mean_density,
    mean_law,
    shape_text,
)
from eigensweep.engine.spectral.removal import MATCHED, parse
from eigensweep.engine.studies.ablation.scopes import resolve_scopes
from eigensweep.engine.studies.ablation.study import Ablation
from eigensweep.engine.studies.ablation.summary import contrasts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 2.45  # inches a row, of which BELOW under the axis
BELOW = 0.5
SIDES = {"right": 12.0, "left": 13.6}  # where outliers and their controls stand, beside the ten deciles
DECILES = {f"decile:{k}": float(k) for k in range(1, 11)}  # where those of the deciles do
KINDS = {
    "outliers": ("outliers", style.LAW, "D", -0.4),
    "energy": ("as much |W|² from the bulk", style.CYCLE[4], "P", -0.2),
    "bulk": ("as many from the bulk", style.TRAINED, "s", 0.0),
    "output": ("as much output change, random", style.CYCLE[3], "X", 0.2),
    "random": ("as many random directions", style.CONTROL, "v", 0.4),
}


def title(study: Ablation) -> tuple[str, str]:
    """What the figure shows, in a sentence of numbers; and what the numbers are."""
    found = {scope: three for scope, three in contrasts(study).items() if np.isfinite(three).all()}
    evaluation, options = study.manifest["evaluation"], study.manifest["options"]
    more = [scope for scope, (_, low, _) in found.items() if low > 0]
    baseline = study.results.iloc[0]["loss"]
    seen = (
        f"the smallest tenth of the singular values matters more than the middle in {len(more)} of {len(found)} panels"
        + (f": {', '.join(more)}" if 0 < len(more) < len(found) else "")
        if found
        else "change of the loss when singular values are taken out"
    )
    return seen, (
        f"baseline {baseline:.4f} nats on {evaluation.get('targets', '?')} targets; bars: "
        f"{100 * options['confidence']:g} % paired bootstrap; all panels share one axis; outliers at level "
        f"{options['level']:g}"
    )


def draw(study: Ablation, scopes: Sequence[str]) -> "Figure":
    """A panel a scope, two beside each other.

    Args:
      study: the finished study.
      scopes: which of its scopes.
    """
    columns = min(2, len(scopes))
    rows = -(-len(scopes) // columns)
    crowded = set(study.results["kind"]) & {"equalised", *MATCHED}  # then the legend has three rows
    top, bottom = 0.88 if crowded else 0.72, 0.08
    height = top + bottom + PANEL * rows
    figure = style.new_figure(height=height)
    style.headline(figure, *title(study))
    limits, threshold = _limits(study, scopes)
    members = _members(study, scopes)
    for i, scope in enumerate(scopes):
        row, column = divmod(i, columns)
        x0, width = 0.085 + column * 0.915 / columns, 0.915 / columns - 0.07
        y0, inner = (bottom + (rows - 1 - row) * PANEL + BELOW) / height, (PANEL - BELOW - 0.25) / height
        axes = figure.add_axes((x0, y0, width, inner))
        records = study.results[study.results["scope"] == scope].to_dict("records")
        _changes(axes, records, limits, threshold)
        axes.set_title(f"{style.shorten(scope, 46)}   {_shapes(members[scope])}", pad=3)
        if column == 0:
            axes.set_ylabel("change of the loss (nats)", labelpad=1)
        inset_y, inset_height = y0 + 0.72 * inner, 0.28 * inner
        _spectrum(figure.add_axes((x0 + 0.19 * width, inset_y, 0.35 * width, inset_height)), members[scope])
        _p_values(figure.add_axes((x0 + 0.65 * width, inset_y, 0.33 * width, inset_height)), members[scope])
    handles, names = _legend(figure)
    figure.legend(
        handles, names, loc="upper left", bbox_to_anchor=(0.012, 1 - 0.38 / height), ncols=3 if crowded else 4,
        handlelength=1.4, columnspacing=1.2, borderaxespad=0,
    )  # fmt: skip
    return figure


def _legend(figure: "Figure") -> tuple[list[Any], list[str]]:
    """Every label of any panel once."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    return list(found.values()), list(found)


def _members(study: Ablation, scopes: Sequence[str]) -> dict[str, list[Spectrum]]:
    """The spectra behind each scope."""
    spectra = {s.name: s for group in by_role(study).values() for s in group}
    matrices = [
        SimpleNamespace(name=s.name, role=s.role, tower=s.tower, block=s.block, shape=(s.m, s.n))
        for s in spectra.values()
    ]
    found = resolve_scopes(matrices, study.manifest["options"]["scopes"])
    return {scope: [spectra[matrix.name] for matrix in found[scope]] for scope in scopes}


def _shapes(members: list[Spectrum]) -> str:
    text = shape_text(members)
    return f"{len(members)} matrices, {text}" if len(members) > 1 else text


def _limits(study: Ablation, scopes: Sequence[str]) -> tuple[tuple[float, float], float]:
    """Limits of the common axis, with room for the insets above; and where it turns from linear to logarithmic."""
    table = study.results[study.results["scope"].isin(scopes)]
    records = [r for r in table.to_dict("records") if _is_drawn(r)]
    low = min((r["change_low"] for r in records), default=0.0)
    high = max((r["change_high"] for r in records), default=0.0)
    changes = np.abs(np.array([r["change"] for r in records]))
    small = float(np.quantile(changes[changes > 0], 0.25)) if (changes > 0).any() else 1e-3
    threshold = 10.0 ** math.floor(math.log10(small))
    # on a symlog axis, in decades from the threshold on; the linear part counts as one
    span = 1 + max(0.0, math.log10(max(high, threshold) / threshold))
    ceiling = threshold * 10 ** (span * 2.0 - 1)  # the upper half is the insets'
    return (min(1.4 * low, -0.15 * threshold), ceiling), threshold


def _changes(axes: "Axes", records: Sequence[Mapping[str, Any]], limits: tuple[float, float], threshold: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    lost = [r["removal"] for r in records if not _is_drawn(r)]
    if lost:
        note = f"loss not finite without {style.shorten(', '.join(lost), 40)}"
        axes.text(0.99, 0.6, note, transform=axes.transAxes, ha="right", fontsize=6.5, color=style.LAW)
    records = [r for r in records if _is_drawn(r)]
    axes.set_yscale("symlog", linthresh=threshold, linscale=1.0)
    axes.set_ylim(*limits)
    axes.axhline(0, color=style.INK, lw=0.5)
    drawn = [r["change"] for r in records if r["removal"].startswith("random:decile")]
    if drawn:
        low, high = min(drawn), max(drawn)
        axes.fill_between([0.5, 10.5], low, high, color=style.CONTROL, alpha=0.35, lw=0.6,
                          label="a tenth in random directions")  # fmt: skip
    _tenths(axes, records, "decile", "a tenth of the values", style.TRAINED)
    _tenths(axes, records, "equalised", "a tenth of the equalised matrix", style.EQUALISED)
    for kind, (label, color, marker, shift) in KINDS.items():
        for which, position in (SIDES | DECILES).items():
            found = [r for r in records if r["kind"] == kind and r["removed"] and parse(r["removal"]).which == which]
            if found:
                _point(axes, position + shift, found, color, marker, label)
    for side, position in SIDES.items():
        if not any(r["removal"] == f"outliers:{side}" and r["removed"] for r in records):
            axes.text(position, 0.04, "none", transform=axes.get_xaxis_transform(), ha="center", fontsize=6.5,
                      color="#666666")  # fmt: skip
    axes.axvline(11, color=style.FAINT, lw=0.8, ymax=0.5)
    axes.set_xlim(0.4, 14.3)
    axes.set_xticks([*range(1, 11), *SIDES.values()],
                    ["1", *map(str, range(2, 11)), *(f"{_count(records, side)}" for side in SIDES)])  # fmt: skip
    axes.tick_params(axis="x", length=2, pad=2)
    top = math.log10(max([threshold, *(r["change_high"] for r in records)]))
    exponents = range(round(math.log10(threshold)), math.ceil(top) + 1)
    axes.yaxis.set_major_locator(FixedLocator([0, *(10.0**e for e in exponents)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    for middle, text in ((5.5, "decile (1 = largest)"), (12.8, "outliers")):
        axes.annotate(text, (middle, 0), (0, -21), axes.get_xaxis_transform(), textcoords="offset points", ha="center",
                      va="top")  # fmt: skip


def _tenths(axes: "Axes", records: Sequence[Mapping[str, Any]], kind: str, label: str, color: str) -> None:
    """The ten removals of a kind, as far as they are there."""
    found = [r for r in records if r["kind"] == kind]
    if found:
        x = np.array([int(r["removal"].split(":")[1]) for r in found])
        change, bars = _bars(found)
        axes.errorbar(x, change, bars, color=color, lw=1.1, marker="o", ms=3, elinewidth=0.9, capsize=1.8, label=label)


def _is_drawn(record: Mapping[str, Any]) -> bool:
    return all(math.isfinite(record[key]) for key in ("change", "change_low", "change_high"))


def _count(records: Sequence[Mapping[str, Any]], side: str) -> str:
    """Tick under the outliers of one side: how many, and where they are."""
    number = next((r["removed"] for r in records if r["removal"] == f"outliers:{side}"), 0)
    return f"{number}\n{'> ν+' if side == 'right' else '< ν−'}"


def _bars(records: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    change, low, high = (np.array([r[k] for r in records]) for k in ("change", "change_low", "change_high"))
    return change, np.maximum(np.stack([change - low, high - change]), 0)


def _point(axes: "Axes", x: float, records: Sequence[Mapping[str, Any]], color: str, marker: str, label: str) -> None:
    """One removal with its interval; of several draws the mean, and the range of their intervals."""
    y = float(np.mean([r["change"] for r in records]))
    low = min((r["change_low"] for r in records), default=0.0)
    high = max((r["change_high"] for r in records), default=0.0)
    axes.errorbar([x], [y], [[max(y - low, 0)], [max(high - y, 0)]], color=color, lw=0, marker=marker, ms=3.2,
                  elinewidth=0.9, capsize=1.8, label=label)  # fmt: skip


def _spectrum(axes: "Axes", members: list[Spectrum]) -> None:
    """Density of the singular values against the Marchenko-Pastur law, edges dashed."""
    bins = bins_of(members)[::2]
    axes.stairs(mean_density(members, bins), bins, fill=True, color=style.TRAINED, alpha=0.45, lw=0)
    grid, law = mean_law(members)
    axes.plot(grid, law, color=style.LAW, lw=0.9)
    for edge in np.mean([s.edges for s in members], axis=0):
        if edge > 0:
            axes.axvline(edge, color=style.INK, lw=0.6, ls=(0, (4, 3)))
    axes.set_xlim(0, bins[-1])
    axes.set_ylim(0, min(1.25 * max(law.max(), float(np.sort(mean_density(members, bins))[-2])), 4 * law.max()))
    _inset(axes, "singular value / σ√max(m, n)", "density")
    axes.set_yticks([])


def _p_values(axes: "Axes", members: list[Spectrum]) -> None:
    """Averaged p-values of the right and left vectors against rank, as a share: the deciles' own axis."""
    for side, color in (("right", style.TRAINED), ("left", style.CYCLE[2])):
        sizes = {s.values.size for s in members}
        groups = [[getattr(s, f"p_{side}") for s in members if s.values.size == size] for size in sizes]
        for series in groups:
            p = mean_by_index(series)
            axes.plot(np.linspace(0.5, 10.5, p.size), p, color=color, lw=0.9, label=f"p-values, {side} vectors")
    axes.axhline(0.5, color=style.CONTROL, lw=0.6, ls=":")
    axes.set_xlim(0.5, 10.5)
    axes.set_ylim(0, 0.75)
    axes.set_xticks([1, 5, 10])
    axes.set_yticks([0, 0.5], ["0", "½"])
    if not any(np.isfinite(line.get_ydata()).any() for line in axes.lines[:-1]):  # the last is the dotted one
        axes.text(0.5, 0.5, "no test", transform=axes.transAxes, ha="center", fontsize=5.5, color="#666666")
    _inset(axes, "decile", "mean p")


def _inset(axes: "Axes", xlabel: str, ylabel: str) -> None:
    axes.patch.set_alpha(0.9)
    axes.tick_params(labelsize=5.5, length=1.5, pad=1)
    axes.set_xlabel(xlabel, fontsize=5.5, labelpad=0.5)
    axes.set_ylabel(ylabel, fontsize=5.5, labelpad=0.5)
