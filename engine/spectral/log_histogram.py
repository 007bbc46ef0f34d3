"""Counts of numbers on a fixed grid, fine everywhere: no range to be known before the pass, and merging is adding.

The grid is that of the upper half of a float32: sign, exponent, seven bits of the mantissa, so that a bin is at most
1/128 of its numbers wide and every bfloat16 has its own. Quantiles are read off it to that width; histograms for fits
and figures are made of it by joining bins.
"""

from typing import Any

import numpy as np

BINS = 1 << 16
_NON_FINITE = 0x7F80  # the first such bin, above the sign


def zero() -> np.ndarray:
    """Counts of no data, (BINS,) int64; merging is adding."""
    return np.zeros(BINS, np.int64)


def count(x: Any, mask: Any = None) -> np.ndarray:
    """Counts of the entries of an array of NumPy or JAX, (BINS,) int64.

    Args:
      x: any shape, floating.
      mask: of the leading axes, true for what counts; None: all.
    """
    xp = x.__array_namespace__()
    bits = x.astype(xp.float32).view(xp.uint32) >> 16
    if xp is np:
        bits = bits.reshape(-1) if mask is None else bits[np.asarray(mask)].reshape(-1)
        return np.bincount(bits.astype(np.int64), minlength=BINS).astype(np.int64)
    weight = xp.ones(x.shape, bool) if mask is None else xp.broadcast_to(mask[..., None], x.shape)
    return np.asarray(xp.zeros(BINS, xp.int64).at[bits].add(weight))


def non_finite(counts: np.ndarray) -> int:
    """How many were infinite or no numbers."""
    return int(counts[_NON_FINITE : BINS // 2].sum() + counts[BINS // 2 + _NON_FINITE :].sum())


def ordered(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (k + 1,) and counts (k,) of the finite bins in ascending order, from the first to the last occupied one.

    An edge belongs to the bin that is further from 0. Without any data both are empty.
    """
    up = counts[:_NON_FINITE]
    down = counts[BINS // 2 : BINS // 2 + _NON_FINITE]
    upper = (np.arange(_NON_FINITE + 1, dtype=np.uint32) << 16).view(np.float32).astype(np.float64)
    upper[-1] = float(np.finfo(np.float32).max)
    joined, edges = np.concatenate((down[::-1], up)), np.concatenate((-upper[:0:-1], upper))
    there = np.flatnonzero(joined)
    if not there.size:
        return np.zeros(0), np.zeros(0, np.int64)
    return edges[there[0] : there[-1] + 2], joined[there[0] : there[-1] + 1]


def quantiles(edges: np.ndarray, counts: np.ndarray, levels: Any, low: float, high: float) -> np.ndarray:
    """Quantiles at these levels, spread evenly within a bin; NaN without data.

    Args:
      edges, counts: of `ordered`.
      levels: in [0, 1].
      low, high: the smallest and the largest number, where they are known better than by the grid.
    """
    if not counts.sum():
        return np.full(np.shape(levels), np.nan)
    below = np.concatenate(([0.0], np.cumsum(counts)))
    keep = np.concatenate(([True], np.diff(below) > 0))  # np.interp wants an increasing grid
    return np.clip(np.interp(np.asarray(levels) * below[-1], below[keep], edges[keep]), low, high)


def joined(edges: np.ndarray, counts: np.ndarray, centre: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A symmetric-log grid about `centre`: bins of 0.1 scale up to 4, beyond wider by 5 % each.

    Its edges are those of the fine grid next to the wanted ones, so that the counts are exact.

    Args:
      edges, counts: of `ordered`.
      centre, scale: say the median and a robust standard deviation; with scale 0 the fine grid stays.
    """
    if not counts.size or not scale > 0:
        return edges, counts
    reach = max(edges[-1] - centre, centre - edges[0]) / scale
    outer = 4 * 1.05 ** np.arange(1, max(1, int(np.ceil(np.log(max(reach, 4) / 4) / np.log(1.05)))) + 1)
    side = np.concatenate((0.1 * np.arange(1, 41), outer))
    wanted = centre + scale * np.concatenate((-side[::-1], [0.0], side))
    at = np.searchsorted(edges, wanted)
    left = np.clip(at - 1, 0, len(edges) - 1)
    at = np.clip(at, 0, len(edges) - 1)
    nearest = np.where(np.abs(edges[left] - wanted) <= np.abs(edges[at] - wanted), left, at)
    chosen = np.unique(np.concatenate(([0], nearest, [len(edges) - 1])))
    return edges[chosen], np.add.reduceat(counts, chosen[:-1])
