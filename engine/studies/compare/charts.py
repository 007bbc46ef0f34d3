"""What the page draws of a comparison besides its own tab: movement by depth, medians and spreads over the runs."""

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule, Series
from eigensweep.engine.report.style import shorten
from eigensweep.engine.studies.compare import sentences
from eigensweep.engine.studies.compare.study import Comparison

OVER_RUNS = (
    "alpha", "stable_rank", "effective_rank", "mp_ks", "num_right_outliers_beyond_signs", "rejected_share_right",
)  # fmt: skip
"""Measures whose medians and spreads are drawn over the runs."""
_COLORS = 7  # of the style sheet
_MOVED = "Each matrix by its block; panels are pairs of runs."
_OVERLAP = "Overlap of the subspaces of the top k right singular vectors before and after: 1 where they are the same."
_MEDIANS = "Medians over the blocks, a line a role, runs in their order."
_SPREADS = (
    "Interquartile range over the blocks, divided by the median, a line a role. Bars: 95 % bootstrap intervals over "
    "the blocks, from six blocks on; of few blocks they are rough."
)


def charts(found: Comparison) -> list[Chart]:
    """Movement where checkpoints were at hand; medians and spreads of each run's roles."""
    result = []
    if len(found.moved):
        block = Axis("block (−1: outside the blocks)")
        moved, overlap = sentences.moved(found), sentences.overlap(found)
        panels = _by_block(found, "relative")
        result.append(Chart("How far the matrices moved", *moved, _MOVED, block, Axis("|W′ − W| / |W|", "log"), panels))
        if found.moved["overlap_right"].notna().any():
            unit, panels = Axis("overlap", limits=(0.0, 1.05)), _by_block(found, "overlap_right")
            result.append(Chart("Top right subspaces", *overlap, _OVERLAP, block, unit, panels))
    runs = list(dict.fromkeys(found.spread["run"]))
    if len(runs) > 1:
        ticks = [(float(i), shorten(run, 12)) for i, run in enumerate(runs)]
        places = Axis("", ticks=ticks, limits=(-0.3, len(runs) - 0.7))
        spreads, iqr = _over_runs(found, runs, "spread"), Axis("interquartile range / median", "log")
        if spreads:
            said = sentences.spreads(found)
            result.append(Chart("Spread over the blocks", *said, _SPREADS, places, iqr, spreads))
        if len(runs) > 2:
            for panel in _over_runs(found, runs, "median"):
                said, y = sentences.medians(found, panel.title), Axis(panel.title)
                result.append(Chart(f"{panel.title} over the runs", *said, _MEDIANS, places, y, [panel]))
    return result


def _by_block(found: Comparison, column: str) -> list[Panel]:
    panels = []
    for (run, other), group in found.moved.groupby(["run", "other"], sort=False):
        series = []
        for i, (role, rows) in enumerate(group.groupby("role", sort=False)):
            blocks = rows["block"].astype("Float64").to_numpy(np.float64, na_value=-1.0)
            values = np.where(rows[column] > 0, rows[column], np.nan)
            marks = "line+points" if len(set(blocks)) == len(blocks) else "points"
            series.append(Series(str(role), blocks, values, marks=marks, color=f"c{i % _COLORS}"))
        rules = []
        if column == "overlap_right":
            null = float(group["overlap_null_99_right"].median())
            rules = [Rule("99 % of random subspaces are below (median over the matrices)", "y", null, "law")]
        panels.append(Panel(shorten(f"{run} → {other}", 60), series, rules=rules))
    return panels


def _over_runs(found: Comparison, runs: list[str], column: str) -> list[Panel]:
    panels = []
    for measure in OVER_RUNS:
        of = found.spread[found.spread["measure"] == measure]
        series = []
        for i, (role, rows) in enumerate(of.groupby("role", sort=False)):
            by_run = rows.set_index("run").reindex(runs)
            if not np.isfinite(by_run[column].to_numpy(float)).any():
                continue
            ends = {}
            if column == "spread" and np.isfinite(by_run["spread_low"].to_numpy(float)).any():
                ends = {"low": by_run["spread_low"].to_numpy(float), "high": by_run["spread_high"].to_numpy(float)}
            places = np.arange(len(runs)) + 0.02 * (i - 3)
            values = by_run[column].to_numpy(float)
            series.append(Series(str(role), places, values, marks="line+points", color=f"c{i % _COLORS}", **ends))
        if series:
            panels.append(Panel(measure.replace("_", " "), series))
    return panels
