"""Charts of what changes with depth: norms of the weights, rank plots."""

import math

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Series
from eigensweep.engine.report.spectrum import block_of, scalar
from eigensweep.engine.report.style import number
from eigensweep.engine.spectral import rank_plot
from eigensweep.engine.spectral.trend import log_trend
from eigensweep.engine.studies.facts.stream_charts import evenly
from eigensweep.engine.studies.facts.study import Facts
from eigensweep.engine.tables.groups import group_of

MEASURES = {
    "frobenius": "Frobenius norm", "spectral": "spectral norm",
    "folded_frobenius": "Frobenius norm with the norm's gain", "folded_spectral": "spectral norm with the norm's gain",
}  # fmt: skip
MAX_RANKS, MAX_LINES = 60, 12  # of a line; lines of a panel
_NORMS = (
    "Norms of the weights by block, a line a role; with the gain: W together with the linear part of the norm between "
    "it and the stream. Means over the matrices of a role where a block has several."
)
_TRENDS = "Frobenius norms: mean of ln over roles against relative depth; 95 % intervals by Student's t over blocks"
_RANKS = (
    "Values by rank, a line a block (ends of the ramp named); black: the two-piece fit of all blocks together. It is "
    "called a power law where its straight part falls, spans a decade and does not bend."
)


def norms(found: Facts) -> Chart | None:
    """Norms over depth, writing matrices against reading ones."""
    frame = found.norms
    frame = frame[frame["block"].notna() & (frame["side"] != "")]
    if frame["block"].nunique() < 2:
        return None
    frame = frame.assign(label=[group_of(row).label for row in frame.to_dict("records")])
    labels = sorted(set(frame["label"]), key=lambda label: (frame.loc[frame["label"] == label, "side"].iloc[0], label))
    panels = []
    for measure, title in MEASURES.items():
        known = frame[frame[measure].notna()]
        series = []
        for label in [label for label in labels if label in set(known["label"])]:
            line = known[known["label"] == label].groupby("block")[measure].mean()
            side = known.loc[known["label"] == label, "side"].iloc[0]
            color = f"c{labels.index(label) % 7}"
            series.append(Series(f"{label} ({side})", line.index, line.to_numpy(), marks="line+points", color=color))
        if series:
            panels.append(Panel(title, series))
    ticks = [(float(block), str(block)) for block in evenly(sorted(set(frame["block"])), 9)]
    x, y = Axis("block", ticks=ticks), Axis("norm", "log")
    return Chart("Norms over depth", trend_sentence(found), _TRENDS, _NORMS, x, y, panels)


def trends(found: Facts, measure: str = "frobenius") -> dict[str, tuple[float, float, float, str]]:
    """Side -> (factor from first block to last, its interval, grows or falls or ""); of the mean of ln over roles."""
    frame = found.norms
    frame = frame[frame["block"].notna() & frame[measure].notna()]
    result: dict[str, tuple[float, float, float, str]] = {}
    for side in ("writing", "reading"):
        of = frame[frame["side"] == side]
        mean = np.log(of[measure]).groupby(of["block"]).mean()
        fit = log_trend(mean.index.to_numpy(float), np.exp(mean.to_numpy(float)))
        factor, low, high = (float(np.exp(value)) for value in fit)
        result[side] = factor, low, high, fit.word
    return result


def trend_sentence(found: Facts) -> str:
    """Which side grows with depth, where the interval excludes no change."""
    said = []
    for side, (factor, low, high, word) in trends(found).items():
        if math.isfinite(factor):
            verb = {"grows": "grow", "falls": "shrink"}.get(word, "no trend")
            said.append(f"{side} {verb} × {number(factor)} ({number(low)} to {number(high)})")
    return f"Norms, first to last block: {'; '.join(said)}" if said else "Norms by block"


def weight_ranks(found: Facts) -> Chart | None:
    """Rank plots of weights, a panel a role."""
    return _ranks(found, "weight", "Rank plots of the weights", "singular value")


def stream_ranks(found: Facts) -> Chart | None:
    """Rank plots of the stream's covariances."""
    return _ranks(found, "stream", "Rank plots of the stream's covariances", "eigenvalue")


def dataset_ranks(found: Facts) -> Chart | None:
    """Rank plots of the data set's covariance, as it is and shuffled."""
    return _ranks(found, "dataset", "Rank plots of the data set's token covariance", "eigenvalue")


def _ranks(found: Facts, what: str, heading: str, value: str) -> Chart | None:
    rows = [row for row in found.ranks[found.ranks["what"] == what].to_dict("records") if row["num_ranks"] > 1]
    if what == "weight":
        rows = [row for row in rows if block_of(row) is not None] or rows
    if not rows:
        return None
    groups: dict[str, list[dict]] = {}
    sizes: dict[str, set] = {}
    for row in rows:
        sizes.setdefault(row["role"], set()).add((row["m"], row["n"]))
    for row in rows:
        shape = f" {row['m']} × {row['n']}" if what == "weight" and len(sizes[row["role"]]) > 1 else ""
        groups.setdefault(row["role"] + shape, []).append(row)
    pooled = {(r["what"], r["role"], scalar(r, "m"), r["n"]): r for r in found.pooled_ranks.to_dict("records")}
    panels, fits = [], []
    for label, members in groups.items():
        first = members[0]
        fit = next((r for k, r in pooled.items() if k[:2] == (what, first["role"]) and k[3] == first["n"]), None)
        fit = first if fit is None or len(members) == 1 else fit
        fits.append(fit)
        panels.append(Panel(label, [*_lines(members, value), _fit(members, fit)], note=described(fit)))
    straight = [fit for fit in fits if fit["power_law"]]
    slopes = [scalar(fit, "slope") for fit in straight]
    spread = f", slopes {number(min(slopes))} to {number(max(slopes))}" if len(slopes) > 1 else ""
    spread = f", slope {number(slopes[0])}" if len(slopes) == 1 else spread
    seen = f"{len(straight)} of {len(fits)} spectra fall straight over a decade and more{spread}"
    note = "intervals: 95 %, blocks drawn with replacement"
    if what == "weight":
        noise = [scalar(fit, "slope_noise") for fit in fits]
        note += f"; Gaussian matrices of these shapes: slopes {number(min(noise))} to {number(max(noise))}, bent"
    if what == "dataset":
        note = _dataset_note(found)
    x, y = Axis("rank", "log"), Axis(value, "log")
    return Chart(heading, seen, note, _RANKS, x, y, panels)


def _dataset_note(found: Facts) -> str:
    row = found.dataset.iloc[0]
    what = "presence" if row["presence"] else "counts"
    return (
        f"{what} of {row['num_tokens']} tokens in {row['num_sequences']} sequences of {row['length']}; shuffled: the "
        "same tokens dealt out at random"
    )


def _lines(members: list[dict], value: str) -> list[Series]:
    series = []
    blocks = sorted({b for row in members if (b := block_of(row)) is not None})
    kept = members if len(members) <= MAX_LINES else members[:: -(-len(members) // MAX_LINES)]
    for row in kept:
        values, block = np.asarray(row["values"], np.float64)[: row["num_ranks"]], block_of(row)
        ranks = np.unique(np.geomspace(1, values.size, MAX_RANKS).round().astype(int))
        color = "raw" if block is None else blocks.index(block) / max(1, len(blocks) - 1)
        name = value if block is None else f"block {block}"
        series.append(Series(name, ranks, values[ranks - 1], color=color))
    return series


def _fit(members: list[dict], fit: dict) -> Series:
    """The fit's corners at the height of the blocks' geometric mean."""
    size = int(fit["num_ranks"])
    logs = np.mean([np.log(np.asarray(row["values"], np.float64)[:size]) for row in members], axis=0)
    plot = rank_plot.fit(np.exp(logs))
    ranks, values = rank_plot.line(plot if math.isfinite(plot.slope) else rank_plot.NONE)
    return Series("two-piece fit", ranks, values, marks="line", color="ink")


def described(fit: dict) -> str:
    """A rank plot's fit in words."""
    slope, low, high = (scalar(fit, key) for key in ("slope", "slope_low", "slope_high"))
    if math.isnan(slope):
        return "too few values"
    interval = f" ({number(low)} to {number(high)})" if math.isfinite(low) else ""
    end = scalar(fit, "end")
    where = f" to rank {end:.0f} of {fit['num_ranks']}"
    word = "" if fit["power_law"] else f"; no power law ({_why(fit)})"
    return f"slope {number(slope)}{interval}{where}{word}"


def _why(fit: dict) -> str:
    """What is missing for a power law."""
    if scalar(fit, "decades") < rank_plot.DECADES:
        return "less than a decade"
    return (
        f"bends by {scalar(fit, 'bend'):.0%} of its slope"
        if scalar(fit, "bend") > rank_plot.MAX_BEND
        else "does not fall"
    )
