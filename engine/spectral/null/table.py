"""The null of the KS statistic as it comes with eigensweep: p-values for any n >= 16 without simulation.

table.npz holds ln P(sqrt(n) D >= t) on a grid of t for a few n; between them it is interpolated linearly in
1/sqrt(n), in which it is nearly constant, and linearly in t. Made on one CPU core in an hour by

    eigensweep-null --n=16,20,24,32,40,48,64,96,128,192,256,384,512,1024,2048,4096,16384,65536 \\
      --num_draws=1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,1e7,4e6,2e6 --table=table.npz

which the file repeats with versions and the quality of the fit (`recipe()`). Above p = 0.01 the table is the counted
survival function; below, a curve fitted to all n together (fit.py; chi2 = 1026 over 1009 cells). Beyond the
largest n its row serves. p-values end at BOUND: a p of BOUND reads "< 1e-6".

Held against fresh draws with another seed at n = 18, 28, 56, 80, 150, 300, 768 (10^7 each), 1500, 3000 (5 10^6 each),
8192 (2 10^6), none of them in the table: off by at most 1.0 % of p for p >= 0.01 and 2.7 % to 1e-3 at any n (counting
noise included); pooled, by 0.4 % to 1e-3, 1 % to 2e-5 and 8 % +- 4 % at 1e-5.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

BOUND = 1e-6


class NullTable(NamedTuple):
    """n: (K,) int, ascending. t: (T,) grid of sqrt(n) D, evenly spaced. log_p: (K, T) ln P(sqrt(n) D >= t)."""

    n: np.ndarray
    t: np.ndarray
    log_p: np.ndarray
    recipe: dict[str, Any]


@lru_cache(maxsize=1)
def load() -> NullTable:
    """The table that comes with eigensweep."""
    path = files(__package__) / "table.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        log_p, recipe = data["log_p"].astype(np.float64), json.loads(str(data["recipe"]))
        return NullTable(data["n"], data["t"], log_p, recipe)


def smallest_n() -> int:
    """The smallest n that the table serves."""
    return int(load().n[0])


def p_value_table(d: ArrayLike, n: int) -> np.ndarray:
    """P(D >= d) for unit vectors of length n, from the shipped table; never below BOUND ("< 1e-6"), NaN for NaN.

    Its accuracy is stated above.

    Args:
      d: statistics of any shape.
      n: length of the vectors.

    Raises:
      ValueError: n is below the table.
    """
    d = np.asarray(d)
    log_p = np.interp(d * np.sqrt(n), load().t, log_p_row(n))
    return np.where(np.isnan(d), np.nan, np.maximum(np.exp(log_p), BOUND))


@lru_cache(maxsize=256)
def log_p_row(n: int) -> np.ndarray:
    """(T,) ln P(sqrt(n) D >= t) at the table's t, interpolated in 1/sqrt(n); constant beyond the largest n."""
    table = load()
    if n < table.n[0]:
        raise ValueError(f"n = {n}: the table begins at {table.n[0]}; simulate with eigensweep's sample_null")
    x = 1 / np.sqrt(table.n[::-1])
    k = int(np.clip(np.searchsorted(x, 1 / np.sqrt(n)) - 1, 0, x.size - 2))
    weight = np.clip((1 / np.sqrt(n) - x[k]) / (x[k + 1] - x[k]), 0, 1)
    rows = table.log_p[::-1]
    return (1 - weight) * rows[k] + weight * rows[k + 1]


def recipe() -> dict[str, Any]:
    """How the table was made: command, draws a size, versions, quality of the tail's fit."""
    return load().recipe
