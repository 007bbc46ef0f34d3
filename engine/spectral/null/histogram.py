"""A Monte Carlo null too large to keep draw by draw: a fine histogram of t = sqrt(n) D and the exact top.

t has nearly the same distribution for every n (sampling.py), its 1 - 1e-6 quantile near 2.6: one set of bins will do.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

BINS_PER_UNIT = 2**14  # p inside a bin is interpolated; a bin holds at most 1e-4 of all draws
T_MAX = 4  # beyond it 1e-14 of the draws, which the top keeps exactly
NUM_TOP = 4096  # largest D kept as they are


class NullHistogram(NamedTuple):
    """Draws of D for unit vectors of length n.

    counts: (T_MAX * BINS_PER_UNIT,) int64, draws with floor(t * BINS_PER_UNIT) = k; the last bin takes all above.
    top: the largest min(num_draws, NUM_TOP) values of D, float32, ascending.
    """

    n: int
    seed: int
    num_draws: int
    counts: np.ndarray
    top: np.ndarray


def empty(n: int, seed: int) -> NullHistogram:
    """No draws yet."""
    return NullHistogram(n, seed, 0, np.zeros(T_MAX * BINS_PER_UNIT, np.int64), np.zeros(0, np.float32))


def add(null: NullHistogram, d: np.ndarray) -> NullHistogram:
    """`null` with further draws d (k,) float32."""
    t = d.astype(np.float64) * np.sqrt(null.n)
    index = np.minimum(t * BINS_PER_UNIT, null.counts.size - 1).astype(np.int64)
    counts = null.counts + np.bincount(index, minlength=null.counts.size)
    large = d[d >= null.top[0]] if null.top.size >= NUM_TOP else d
    top = np.sort(np.concatenate([null.top, large]))[-NUM_TOP:]
    return null._replace(num_draws=null.num_draws + d.size, counts=counts, top=top)


def p_value(d: np.ndarray, null: NullHistogram) -> np.ndarray:
    """p = (1 + #{D_null >= d}) / (1 + num_draws), exact in the top, interpolated inside a bin below it; NaN for NaN."""
    d = np.asarray(d, np.float64)
    exact = null.top.size - np.searchsorted(null.top, d.astype(np.float32), side="left")
    survivors = np.concatenate([np.cumsum(null.counts[::-1])[::-1], [0]])
    edges = np.arange(survivors.size) / BINS_PER_UNIT
    binned = np.interp(d * np.sqrt(null.n), edges, survivors)
    at_least = np.where(d >= null.top[0], exact, np.maximum(binned, null.top.size))
    return np.where(np.isnan(d), np.nan, (1.0 + at_least) / (1.0 + null.num_draws))


def quantile(p: float, null: NullHistogram) -> float:
    """The value of D that a fraction p of the draws does not exceed, to within a bin."""
    below = np.concatenate([[0], np.cumsum(null.counts)]) / null.num_draws
    k = int(np.searchsorted(below, p))
    if k == 0:
        return 0.0
    fraction = (p - below[k - 1]) / (below[k] - below[k - 1])
    return (k - 1 + fraction) / BINS_PER_UNIT / float(np.sqrt(null.n))


def save(null: NullHistogram, file: Path | BinaryIO, recipe: dict) -> None:
    """Write to a path or an open file."""
    np.savez_compressed(file, **null._asdict(), recipe=json.dumps(recipe))


def load(path: Path) -> NullHistogram:
    """What `save` wrote.

    Raises:
      ValueError: if the file is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            n, seed, num_draws = (int(file[name]) for name in ("n", "seed", "num_draws"))
            return NullHistogram(n, seed, num_draws, file["counts"], file["top"])
    except (KeyError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a null histogram ({error})") from error
