"""Figures of a tokens study for papers: shares of coherent directions, and the spectra of circuits."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from eigensweep.engine.report import style
from eigensweep.engine.studies.tokens.charts import MOST_LINES, share_axis, share_title, spectrum_note
from eigensweep.engine.studies.tokens.shares import by_depth, level_of, shares
from eigensweep.engine.studies.tokens.study import Tokens
from eigensweep.engine.studies.tokens.testing import DIRECTION, EMBEDDING, NEURON

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEAD = 0.75  # inches: headline and legend
_LABELS = {"share": "model", "gaussian": "Gaussian weights", "signs": "random signs"}
_COLORS = {"share": style.TRAINED, "gaussian": style.CONTROL, "signs": style.EQUALISED}


def draw_shares(found: Tokens) -> "Figure":
    """Shares by index, by block, and by kind of unit, beside the controls."""
    from matplotlib.ticker import MaxNLocator

    table, level = shares(found), level_of(found)
    figure = style.new_figure(height=3.3)
    style.headline(figure, *share_title(table, level))
    places = ((0.075, 0.28), (0.38, 0.26), (0.80, 0.19))
    index, block, kinds = (figure.add_axes((x, 0.16, width, 0.58)) for x, width in places)
    of = table[table["unit"] == DIRECTION]
    _curves(index, of[of["by"] == "index"], level)
    top = share_axis(table).limits
    assert top is not None
    ticks = of[of["by"] == "index"]
    index.set_xscale("log", base=2)
    index.set_xticks(ticks["place"], ticks["group"], rotation=45)
    index.minorticks_off()
    index.set_xlabel("index")
    index.set_ylabel(f"share with p ≤ {level:g}")
    _curves(block, of[of["by"] == "block"], level)
    neurons = table[(table["unit"] == NEURON) & (table["by"] == "block")]
    if len(neurons):
        block.plot(neurons["place"], neurons["share"], color=style.LAW, lw=0.9, marker="s", ms=2.5, ls=":")
    block.xaxis.set_major_locator(MaxNLocator(integer=True))
    block.set_xlabel("block")
    block.tick_params(labelleft=False)
    for axes in (index, block):
        axes.set_ylim(*top)
    _kinds(kinds, table, level)
    _legend(figure, bool(len(neurons)))
    return figure


def _curves(axes: "Axes", of: pd.DataFrame, level: float) -> None:
    x = of["place"].to_numpy(float)
    for name in ("gaussian", "signs"):
        axes.plot(x, of[name], color=_COLORS[name], lw=0.9, marker="o", ms=2)
    share = of["share"].to_numpy(float)
    reach = np.abs(np.stack([share - of["low"], of["high"] - share]))
    axes.errorbar(x, share, reach, color=style.TRAINED, lw=1.1, marker="o", ms=3, capsize=1.5, elinewidth=0.7)
    axes.axhline(level, color=style.INK, lw=0.7, ls=(0, (4, 3)))


def _kinds(axes: "Axes", table: pd.DataFrame, level: float) -> None:
    rows = table[(table["by"] == "kind")].to_dict("records")
    short = {NEURON: "neuron ", EMBEDDING: "axes of "}
    place = np.arange(len(rows))[::-1]
    for name in ("gaussian", "signs"):
        axes.scatter([row[name] for row in rows], place, color=_COLORS[name], s=8, zorder=2)
    share = np.array([row["share"] for row in rows])
    reach = np.abs(np.stack([share - [row["low"] for row in rows], [row["high"] for row in rows] - share]))
    axes.errorbar(share, place, xerr=reach, color=style.TRAINED, fmt="o", ms=3, elinewidth=0.7, capsize=1.5, zorder=3)
    names = [short.get(row["unit"], "") + row["group"] for row in rows]
    axes.set_yticks(place, [n.removesuffix(" read") if n.startswith("axes") else n for n in names], fontsize=5.5)
    axes.axvline(level, color=style.INK, lw=0.7, ls=(0, (4, 3)))
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=3)
    axes.set_xlabel("share")


def _legend(figure: "Figure", neurons: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=_COLORS[k], marker="o", ms=3, lw=1, label=label) for k, label in _LABELS.items()]
    if neurons:
        handles.append(Line2D([], [], color=style.LAW, marker="s", ms=2.5, lw=0.9, ls=":", label="single neurons"))
    handles.append(Line2D([], [], color=style.INK, lw=0.7, ls=(0, (4, 3)), label="of noise"))
    height = figure.get_size_inches()[1]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.33 / height), ncols=5)


def draw_spectra(found: Tokens) -> "Figure":
    """A panel a kind: ln s over the index, a line a circuit."""
    kinds = list(found.circuits.groupby("kind", sort=False))
    columns = min(3, len(kinds))
    rows = math.ceil(len(kinds) / columns)
    height = _HEAD + 1.9 * rows
    figure = style.new_figure(height=height)
    total = len(found.circuits)
    style.headline(
        figure,
        "Singular values of circuits: a straight line is an exponential fall",
        f"{total} circuits; c: indices over which s falls by e; off: rms of ln s about the line (Gaussian weights)",
    )
    most = max(int(found.circuits["block"].max()), 1)
    import matplotlib

    ramp = matplotlib.colormaps["viridis"]
    for number, (kind, of) in enumerate(kinds):
        row, column = divmod(number, columns)
        x, y = 0.075 + column * 0.315, 1 - (0.62 + 1.9 * row) / height
        axes = figure.add_axes((x, y - 1.4 / height, 0.26, 1.4 / height))
        least = 0.5
        for line in of.iloc[:: max(1, -(-len(of) // MOST_LINES))].to_dict("records"):
            s = np.asarray(line["singular_values"], float)[: line["rank"]]
            if len(s):
                least = min(least, float(s[-1] / s[0]))
                axes.plot(np.arange(1, len(s) + 1), s / s[0], color=ramp(0.9 * line["block"] / most), lw=0.6, alpha=0.7)
        style.log_axis(axes, "y", 0.8 * least, 1.2)
        axes.set_title(f"{kind}  {spectrum_note(of)}", pad=3, fontsize=6.5)
        if column == 0:
            axes.set_ylabel("s over the first")
        if number + columns >= len(kinds):
            axes.set_xlabel("index")
    return figure


def draw_depth(runs: Mapping[str, Tokens] | Sequence[Tokens]) -> "Figure":
    """Shares of several models over relative depth, a line a model."""
    table = by_depth(runs)
    figure = style.new_figure(height=2.8)
    names = list(dict.fromkeys(table["model"]))
    style.headline(
        figure,
        "Share of coherent directions over relative depth",
        "share of tests with p at most the level, Wilson's 95 % intervals; dashed: of noise; thin: Gaussian weights",
    )
    axes = figure.add_axes((0.075, 0.16, 0.64, 0.62))
    for name, color in zip(names, style.CYCLE * (1 + len(names) // len(style.CYCLE)), strict=False):
        of = table[table["model"] == name]
        reach = np.abs(np.stack([of["share"] - of["low"], of["high"] - of["share"]]))
        axes.errorbar(
            of["depth"], of["share"], reach, color=color, lw=1.1, marker="o", ms=3, capsize=1.5, elinewidth=0.7,
            label=style.shorten(name, 24),
        )  # fmt: skip
        axes.plot(of["depth"], of["gaussian"], color=color, lw=0.5)
    for level in dict.fromkeys(map(level_of, runs.values() if isinstance(runs, Mapping) else runs)):
        axes.axhline(level, color=style.INK, lw=0.7, ls=(0, (4, 3)))
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("relative depth")
    axes.set_ylabel("share")
    figure.legend(loc="upper left", bbox_to_anchor=(0.72, 0.8))
    return figure
