"""Charts of the residual stream: one text over the blocks, cosines, dimensions, directions, ablations."""

import math

import numpy as np

from eigensweep.engine.report.charts import Amount, Axis, Chart, Grid, Panel, Rule, Series
from eigensweep.engine.report.style import number
from eigensweep.engine.studies.facts.study import Facts

MAX_DIMS, MAX_PLACES = 96, 6  # of a heat map; panels
KINDS = {
    "dimension": ("single dimensions", "c0"), "random": ("random directions", "c2"),
    "principal": ("principal directions", "c4"), "pooled": ("all dimensions pooled", "c1"),
    "standardised": ("pooled, each standardised", "c3"),
}  # fmt: skip
_TOKENS = (
    "A text's first tokens by dimension of the residual stream, a panel a place. Of wide streams some dimensions are "
    "shown: the largest, the others evenly spaced. Colours are linear near 0 and logarithmic beyond."
)
_COSINES = (
    "Mean over tokens of the cosine between a token's residual stream at two places, counted by the blocks before "
    "them. Centred: each place's mean over tokens taken off, which all tokens share."
)
_DIMENSIONS = "Mean over tokens of each dimension of the residual stream, by the number of blocks before."
_DIRECTIONS = (
    "Median excess kurtosis over tokens along each kind of direction; bars hold the middle 90 % of the directions. 0: "
    "Gaussian. What is pooled over dimensions mixes distributions of different widths, Gaussian or not."
)
_ABLATIONS = (
    "Change of the loss without a dimension of the stream, everywhere; bars: 95 % bootstrap intervals over rows."
)


def evenly(items: list, most: int) -> list:
    """All of them, or so many, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _chosen(size: np.ndarray) -> np.ndarray:
    """Dimensions to show: the largest third of the room, the others evenly spaced; ascending."""
    if size.size <= MAX_DIMS:
        return np.arange(size.size)
    top = np.argsort(-size)[: MAX_DIMS // 3]
    rest = np.setdiff1d(np.arange(size.size), top)
    return np.sort(np.concatenate([top, rest[np.linspace(0, rest.size - 1, MAX_DIMS - top.size).astype(int)]]))


def tokens(found: Facts) -> Chart | None:
    """Tokens x dimensions of one text, a panel a place."""
    frame = found.sample
    if not len(frame):
        return None
    places = [frame[frame["block"] == block] for block in sorted(set(frame["block"]))]
    values = [np.stack([*place["values"]]) for place in places]
    dims = _chosen(np.max([np.abs(x).max(axis=0) for x in values], axis=0))
    rows, columns = list(places[0]["token"]), [str(dim) for dim in dims]
    most = max(float(np.abs(x).max()) for x in values)
    size = np.abs(np.concatenate(values))
    usual, bulk = (float(x) for x in np.quantile(size, [0.5, 0.95]))
    grids = [
        Grid(f"before block {place['block'].iloc[0]}" if i < len(places) - 1 else "behind the last block",
             rows, columns, x[:, dims].ravel())
        for i, (place, x) in enumerate(zip(places, values, strict=True))
    ]  # fmt: skip
    amount = Amount("entry of the stream", (-most, most), signed=True, threshold=bulk or 1.0)
    dim, at = max(((int(np.abs(x).max(axis=0).argmax()), i) for i, x in enumerate(values)),
                  key=lambda pair: np.abs(values[pair[1]]).max())  # fmt: skip
    times = number(most / usual) if usual else "–"
    seen = f"The largest entry, {number(most)}, is {times} times the median one: dimension {dim}, place {at}"
    note = f"{len(rows)} tokens, {dims.size} of {values[0].shape[1]} dimensions"
    x, y = Axis("dimension"), Axis("token")
    return Chart("One text over the blocks", seen, note, _TOKENS, x, y, evenly(grids, MAX_PLACES), amount)


def cosines(found: Facts) -> Chart | None:
    """Cosines between places, as they are and centred."""
    frame = found.cosines
    if not len(frame):
        return None
    size = int(frame["block"].max()) + 1
    names = [str(i) for i in range(size)]
    grids = [
        Grid(title, names, names, frame.sort_values(["block", "other"])[column].to_numpy())
        for title, column in (("as they are", "cosine"), ("centred", "cosine_centred"))
    ]
    step = frame[frame["other"] == frame["block"] + 1]["cosine"]
    (ends,) = frame[(frame["block"] == 0) & (frame["other"] == size - 1)]["cosine"]
    spread = f"{number(step.min())} to {number(step.max())}"
    seen = f"The stream keeps a cosine of {spread} over one block, and of {number(ends)} from first to last"
    low = min(0.0, float(frame[["cosine", "cosine_centred"]].min().min()))
    note = f"{frame['num_tokens'].iloc[0]} tokens"
    x, y = Axis("blocks before"), Axis("blocks before")
    return Chart(
        "Cosines of the stream between blocks", seen, note, _COSINES, x, y, grids, Amount("cosine", (low, 1.0))
    )


def dimensions(found: Facts) -> Chart | None:
    """Means of dimensions, block by block."""
    frame = found.dimensions
    frame = frame[frame["tap"].str.endswith(("stream/before", "stream/after"))]
    if not len(frame):
        return None
    taps = sorted(set(frame["tap"]), key=lambda tap: (int(tap.split("/")[1]), tap.endswith("after")))
    size = int(frame["dim"].max()) + 1
    means = np.stack([frame.loc[frame["tap"] == tap, "mean"].to_numpy(np.float64) for tap in taps])
    dims = _chosen(np.abs(means).max(axis=0))
    names = [f"{tap.split('/')[1]}" if tap.endswith("before") else "last" for tap in taps]
    most, bulk = float(np.abs(means).max()), float(np.quantile(np.abs(means), 0.95))
    outliers = found.outliers
    always = int((outliers["share_taps"] >= 0.5).sum()) if len(outliers) else 0
    seen = f"{len(outliers)} dimensions lie beyond 6 robust sd at some place, {always} of them at half of the places"
    note = f"{dims.size} of {size} dimensions shown"
    grid = Grid("mean over tokens", names, [str(dim) for dim in dims], means[:, dims].ravel())
    amount = Amount("mean over tokens", (-most, most), signed=True, threshold=bulk or 1.0)
    x, y = Axis("dimension"), Axis("blocks before")
    return Chart("Dimensions of the stream by block", seen, note, _DIMENSIONS, x, y, [grid], amount)


def directions(found: Facts) -> Chart | None:
    """Excess kurtosis along dimensions, random and principal directions, beside that of all pooled."""
    frame = found.directions
    if not len(frame):
        return None
    series = []
    for shift, (kind, (name, color)) in enumerate(KINDS.items()):
        of = frame[frame["kind"] == kind].sort_values("block")
        x = of["block"].to_numpy(float) + 0.08 * (shift - 2)
        low, high = (
            (None, None) if kind in ("pooled", "standardised") else (of["low"].to_numpy(), of["high"].to_numpy())
        )
        series.append(Series(name, x, of["median"].to_numpy(), low, high, marks="line+points", color=color))
    error = float(frame["standard_error"].max())
    own, pooled = (frame.loc[frame["kind"] == kind, "median"] for kind in ("dimension", "pooled"))
    seen = (
        f"Excess kurtosis of single dimensions: medians {number(own.min())} to {number(own.max())}; all pooled: "
        f"{number(pooled.min())} to {number(pooled.max())}"
    )
    count = int(frame["num_tokens"].iloc[0])
    note = f"{count} tokens; of as many independent Gaussian values the standard error is {number(error)}"
    rules = [Rule("Gaussian", "y", 0.0, "control")]
    ticks = [(float(block), str(block)) for block in evenly(sorted(set(frame["block"])), 9)]
    x, y = Axis("blocks before", ticks=ticks), Axis("excess kurtosis", "symlog", max(error, 1e-3) * 2)
    return Chart("Gaussian along which directions?", seen, note, _DIRECTIONS, x, y, [Panel("", series, rules=rules)])


def ablations(found: Facts) -> Chart | None:
    """Change of the loss without outlier dimensions and random ones."""
    frame = found.ablations
    frame = frame[frame["kind"] != "baseline"]
    if not len(frame):
        return None
    series, ticks, place = [], [], 0
    for kind, name, color in (
        ("outlier", "an outlier dimension", "law"), ("random", "a random dimension", "control"),
        ("outliers", "all outlier dimensions", "raw"), ("random_set", "as many random ones", "ink"),
    ):  # fmt: skip
        of = frame[frame["kind"] == kind]
        at = np.arange(place, place + len(of))
        change, low, high = (of[key].to_numpy(float) for key in ("change", "change_low", "change_high"))
        series.append(Series(name, at, change, low, high, marks="points", color=color))
        labels = [str(dims[0]) if len(dims) == 1 else f"{len(dims)} dims" for dims in of["dims"]]
        ticks += [*zip(at.astype(float), labels, strict=True)]
        place += len(of) + (1 if len(of) else 0)
    medians = {kind: frame.loc[frame["kind"] == kind, "change"].median() for kind in ("outlier", "random")}
    seen = " and ".join(
        f"{number(value)} nats without one {kind}" for kind, value in medians.items() if math.isfinite(value)
    )
    threshold = max(float(frame["change"].abs().median()), 1e-4)
    x, y = Axis("dimension", ticks=ticks), Axis("change of the loss, nats", "symlog", threshold)
    note = f"{len(frame)} ablations; the dimensions are those of the stream"
    panel = Panel("", series, rules=[Rule("", "y", 0.0, "control")])
    return Chart("The loss without a dimension", f"Median change of the loss: {seen}", note, _ABLATIONS, x, y, [panel])
