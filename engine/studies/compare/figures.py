"""Figures of a comparison for papers: the largest differences, what moved, and how steady the runs are."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.studies.compare import sentences
from eigensweep.engine.studies.compare.charts import OVER_RUNS
from eigensweep.engine.studies.compare.study import Comparison
from eigensweep.engine.studies.compare.summary import by_role, largest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 18  # differences in a figure
_PANELS = 4  # pairs of runs beside each other


def figures_of(found: Comparison) -> Mapping[str, Callable[[], "Figure"]]:
    """What a comparison has to draw."""
    drawn: dict[str, Callable[[], Figure]] = {"differences": partial(draw_differences, found)}
    if len(found.moved):
        drawn["moved"] = partial(draw_moved, found)
    if found.spread["run"].nunique() > 1:
        drawn["spread"] = partial(draw_spread, found)
    return drawn


def draw_differences(found: Comparison) -> "Figure":
    """The largest differences by role, in spreads of the measure, of the first pairs of runs."""
    table, couples = by_role(found), list(dict.fromkeys(zip(found.pairs["run"], found.pairs["other"], strict=True)))
    rows = largest(table[np.isfinite(table["size"])], ROWS)
    wanted = [(row["role"], row["measure"]) for row in rows.to_dict("records")]
    wanted = list(dict.fromkeys(wanted))[::-1]
    figure = style.new_figure(height=max(2.2, 0.75 + 0.17 * len(wanted)))
    style.headline(figure, *sentences.differences(found))
    axes = figure.add_axes((0.4, 0.5 / figure.get_figheight(), 0.585, 1 - 1.05 / figure.get_figheight()))
    for i, (run, other) in enumerate(couples[: len(style.MARKERS)]):
        of = table[(table["run"] == run) & (table["other"] == other)].set_index(["role", "measure"])["size"]
        sizes = [float(of.get(key, np.nan)) for key in wanted]
        label = style.shorten(sentences.couple({"run": run, "other": other}), 40)
        color, marker = style.CYCLE[i], style.MARKERS[i]
        axes.plot(sizes, range(len(wanted)), label=label, color=color, marker=marker, ls="none", ms=4)
    axes.axvline(0, color=style.INK, lw=0.6)
    names = [style.shorten(f"{role}: {measure.replace('_', ' ')}", 50) for role, measure in wanted]
    axes.set_yticks(range(len(wanted)), names)
    axes.grid(axis="y", color=style.FAINT, lw=0.5)
    reach = max([2.0, *(abs(x) for line in axes.lines[:-1] for x in np.asarray(line.get_xdata()) if np.isfinite(x))])
    ticks = [t for t in (1, 3, 10, 30, 100, 300, 1000, 1e4, 1e5) if t <= 1.3 * reach]
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-1.3 * reach, 1.3 * reach)
    axes.set_xticks(
        [*(-t for t in ticks[::-1]), 0, *ticks], [f"{t:g}" for t in (*(-t for t in ticks[::-1]), 0, *ticks)]
    )
    axes.minorticks_off()
    axes.set_xlabel("mean difference / spread of the measure over the matrices of the role", labelpad=1)
    if len(couples) > 1:
        axes.legend(loc="best")
    return figure


def draw_moved(found: Comparison) -> "Figure":
    """By block, a column a pair of runs: how far, in how many directions, and the overlap of the top subspaces."""
    from matplotlib.ticker import MaxNLocator

    figure = style.new_figure(height=5.0)
    style.headline(figure, *sentences.moved(found))
    groups = list(found.moved.groupby(["run", "other"], sort=False))[:_PANELS]
    rows = (("relative", "|W′ − W| / |W|"), ("num_directions", "directions"), ("overlap_right", "overlap"))
    panels = figure.subplots(3, len(groups), sharex="col", sharey="row", squeeze=False)
    figure.subplots_adjust(left=0.09, right=0.985, top=0.87, bottom=0.18, wspace=0.12, hspace=0.12)
    for column, ((run, other), group) in enumerate(groups):
        title = sentences.couple({"run": run, "other": other})
        panels[0][column].set_title(style.shorten(title, 96 // len(groups)), pad=3)
        for axes, (measure, label) in zip(panels[:, column], rows, strict=True):
            _by_block(axes, group, measure)
            if column == 0:
                axes.set_ylabel(label, labelpad=2)
        null = float(group["overlap_null_99_right"].median())
        panels[2][column].axhline(null, color=style.LAW, lw=0.8, ls="--")
        panels[2][column].set_ylim(0, 1.05)
        panels[2][column].set_xlabel("block (−1: outside)", labelpad=1)
        panels[2][column].xaxis.set_major_locator(MaxNLocator(integer=True))
    positive = found.moved["relative"][found.moved["relative"] > 0]
    finite = positive[np.isfinite(positive)]
    if len(finite):
        style.log_axis(panels[0][0], "y", finite.min() / 1.4, finite.max() * 1.4)
    panels[1][0].set_ylim(0, None)
    figure.align_ylabels(panels[:, 0])
    handles, names = max((axes.get_legend_handles_labels() for axes in panels[0]), key=lambda pair: len(pair[1]))
    figure.legend(handles, names, loc="lower center", ncols=5)
    return figure


def _by_block(axes: "Axes", group: "object", measure: str) -> None:
    for i, (role, rows) in enumerate(group.groupby("role", sort=False)):  # type: ignore[attr-defined]
        blocks = rows["block"].astype("Float64").to_numpy(np.float64, na_value=-1.0)
        values = rows[measure].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        values = np.where(values > 0, values, np.nan) if measure == "relative" else values
        turn, kind = divmod(i, len(style.CYCLE))
        color, marker = style.CYCLE[kind], style.MARKERS[kind]
        line = ("--" if turn else "-") if len(set(blocks)) == len(blocks) else "none"
        axes.plot(blocks, values, ls=line, color=color, marker=marker, ms=3, lw=0.8, label=style.shorten(str(role), 24))


def draw_spread(found: Comparison) -> "Figure":
    """A panel a measure, a line a role over the runs: the spread over the blocks, with its bootstrap interval."""
    table = found.spread
    runs = list(dict.fromkeys(table["run"]))
    shown = [m for m in OVER_RUNS if np.isfinite(table["spread"][table["measure"] == m]).any()]
    figure = style.new_figure(height=4.4)
    style.headline(figure, *sentences.spreads(found))
    panels = figure.subplots(2, 3, sharex=True).ravel()
    figure.subplots_adjust(left=0.08, right=0.985, top=0.85, bottom=0.24, wspace=0.24, hspace=0.25)
    for axes, measure in zip(panels, shown, strict=False):
        of = table[table["measure"] == measure]
        for i, (role, rows) in enumerate(of.groupby("role", sort=False)):
            by_run = rows.set_index("run").reindex(runs)
            spread = by_run["spread"].to_numpy(float)
            ends = [by_run[f"spread_{end}"].to_numpy(float) for end in ("low", "high")]
            kind = i % len(style.CYCLE)
            places = np.arange(len(runs)) + 0.03 * (i - 3)
            color, marker = style.CYCLE[kind], style.MARKERS[kind]
            axes.plot(places, spread, color=color, marker=marker, ms=3, lw=0.8, label=style.shorten(str(role), 24))
            axes.vlines(places, *ends, color=style.CYCLE[kind], lw=0.6)
        axes.set_title(measure.replace("_", " "), pad=3)
        axes.set_ylim(0, None)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    every = max(1, -(-len(runs) // 8))
    names = [style.shorten(run, 14) for run in runs[::every]]
    for axes in panels[3:]:
        axes.set_xticks(range(0, len(runs), every), names, rotation=25, ha="right")
    handles, names = max((axes.get_legend_handles_labels() for axes in panels), key=lambda pair: len(pair[1]))
    if names:
        figure.legend(handles, names, loc="lower center", ncols=5, fontsize=7)
    return figure
