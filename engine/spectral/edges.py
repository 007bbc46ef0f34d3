"""Where noise ends at finite size: thresholds for outliers on either side of a Gaussian matrix's singular values.

All thresholds are in units of sigma; a = max(m, n), b = min(m, n), d = a - b. At level p:

right       s_max^2 against mu + F1^-1(1 - p) sc, F1 the Tracy-Widom law,
            mu = (sqrt(a') + sqrt(b'))^2,  sc = (sqrt(a') + sqrt(b')) (1/sqrt(a') + 1/sqrt(b'))^(1/3).
left        s_min^2 against exp(log(mu) - F1^-1(1 - p) sc/mu),
            mu = (sqrt(a') - sqrt(b'))^2,  sc = (sqrt(a') - sqrt(b')) (1/sqrt(b') - 1/sqrt(a'))^(1/3).
            Square or nearly so the edge is hard (`hard_edge`): b s_min^2 of Edelman's law for d = 0, and
            (b + (d - 1)/2) s_min^2 of Forrester's for 0 < d <= min(b/4, 64). There the form above is conservative
            (fires at 0.026 for d = 1, 0.034 for d = 2, 0.045 for d = 8, at level 0.05), beyond it is the better one.
b = 1       s^2 is exactly chi-square with a degrees of freedom.

a' = a - 1/2, b' = b - 1/2 is Ma's refinement of Johnstone's a - 1, b: the same to a fiftieth of the edge's width at
400 x 300, better for long matrices (1000 x 8: level 0.05 fires at 0.046, against 0.033).

References: I. M. Johnstone, On the distribution of the largest eigenvalue in principal components analysis, 2001;
Z. Ma, Accuracy of the Tracy-Widom limits for the extreme eigenvalues in white Wishart matrices, 2012.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.special import chdtri, gammaincinv

from eigensweep.engine.spectral import hard_edge, tracy_widom
from eigensweep.engine.spectral.arrays import compiled, namespace

Threshold = Callable[[int, int, float], float]
Tail = Callable[[NDArray[np.float64], int, int], NDArray[np.float64]]
LEAST_P = 1e-9  # the determinants' absolute error is 1e-12: below it p-values have no digits
EPS = float(np.finfo(np.float64).eps)
FEWEST = 8  # singular values below which no edge test is made
_HARD = 64  # largest d = a - b at which the left edge counts as hard, if it is no more than b/4 either


@lru_cache(maxsize=4096)
def right_threshold(m: int, n: int, level: float) -> float:
    """The value that s_max/sigma of an m x n Gaussian matrix exceeds with probability `level`."""
    a, b = _check(m, n, level)
    if b == 1:
        return float(np.sqrt(chdtri(a, level)))
    mean, scale = _right_law(a, b)
    return float(np.sqrt(mean + tracy_widom.quantile(1 - level) * scale))


@lru_cache(maxsize=4096)
def left_threshold(m: int, n: int, level: float) -> float:
    """The value that s_min/sigma of an m x n Gaussian matrix falls below with probability `level`."""
    a, b = _check(m, n, level)
    if b == 1:
        return float(np.sqrt(2 * gammaincinv(a / 2, level)))
    if a == b:
        return float(np.sqrt(hard_edge.quantile(level, 0) / b))
    if is_hard(a, b):
        return float(np.sqrt(2 * hard_edge.quantile(level, a - b) / (a + b - 1)))
    mean, scale = _left_law(a, b)
    return float(np.sqrt(mean) * np.exp(-tracy_widom.quantile(1 - level) * scale / mean / 2))


def p_largest(x: NDArray, a: int, b: int) -> NDArray[np.float64]:
    """P(s_max >= x) of an a x b matrix of unit noise."""
    mean, scale = _right_law(a, b)
    return tracy_widom.survival((x**2 - mean) / scale)


def p_smallest(x: NDArray, a: int, b: int) -> NDArray[np.float64]:
    """P(s_min <= x) of an a x b matrix of unit noise."""
    if a == b:
        return -np.expm1(-(b * x**2 / 2 + np.sqrt(b) * x))
    if is_hard(a, b):
        y = (a + b - 1) / 2 * x**2
        return np.array([1 - hard_edge.survival(z, a - b) if np.isfinite(z) else np.nan for z in y])
    mean, scale = _left_law(a, b)
    with np.errstate(divide="ignore"):
        return tracy_widom.survival((np.log(mean) - 2 * np.log(x)) * mean / scale)


def extreme_p_values(
    s: NDArray, m: int, n: int, sigma: NDArray, eps: float = EPS, tails: tuple[Tail, Tail] = (p_largest, p_smallest)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P(noise's largest >= s_1) and P(noise's smallest <= s_b) by the laws of the thresholds, on the host.

    p <= level where `num_outliers` counts at least one at that level. Both end at `LEAST_P`, "< 1e-9". NaN where there
    is no test, see `num_outliers`, and where sigma is 0.

    Args:
      s: (B, b) singular values, descending.
      m, n: the shape of the matrices.
      sigma: (B,) standard deviation of the noise.
      eps: machine epsilon of the dtype that W was rounded to.
      tails: the laws of s_1/sigma and s_b/sigma.

    Returns:
      (p_largest, p_smallest), (B,) each.
    """
    a, b = max(m, n), min(m, n)
    sigma = np.asarray(sigma, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = s[:, 0] / sigma, s[:, -1] / sigma
        rank = np.sum(s > s[:, :1] * max(m, n) * eps, axis=1)
        known = np.isfinite(sigma) & (sigma > 0) & (b >= FEWEST) & (2 * rank >= b)
    largest = np.where(known, np.maximum(tails[0](x, a, b), LEAST_P), np.nan)
    smallest = np.where(known, np.maximum(tails[1](y, a, b), LEAST_P), np.nan)
    return largest, smallest


def _right_law(a: int, b: int) -> tuple[float, float]:
    """Centre and scale of s_max^2."""
    root_a, root_b = np.sqrt(a - 0.5), np.sqrt(b - 0.5)
    return (root_a + root_b) ** 2, (root_a + root_b) * (1 / root_a + 1 / root_b) ** (1 / 3)


def _left_law(a: int, b: int) -> tuple[float, float]:
    """Centre and scale of s_min^2 at the soft edge."""
    root_a, root_b = np.sqrt(a - 0.5), np.sqrt(b - 0.5)
    return (root_a - root_b) ** 2, (root_a - root_b) * (1 / root_b - 1 / root_a) ** (1 / 3)


def is_hard(a: int, b: int) -> bool:
    """Whether the left edge of an a x b matrix, a >= b, is hard: square or nearly so."""
    return a - b <= min(b / 4, _HARD)


@compiled("m", "n", "level", "thresholds")
def num_outliers(
    s: Any,
    m: int,
    n: int,
    sigma: Any,
    level: float = 0.01,
    eps: Any = EPS,
    thresholds: tuple[Threshold, Threshold] = (right_threshold, left_threshold),
) -> tuple[Array, Array]:
    """How many singular values lie above and below what noise of standard deviation sigma reaches: the outliers.

    The first false outlier on a side has probability `level` a matrix. After k true ones noise fills only
    (m - k) x (n - k) dimensions and both thresholds err to the safe side.

    There is no test, and both counts are -1, where b < FEWEST (on few values the fitted sigma and the spikes cannot be
    told apart); where sigma is NaN; and where the numerical rank #{s > s_max max(m, n) eps} is below b/2, as in a
    product of low rank: what would be the bulk there is rounding. Left outliers of other rank-deficient matrices
    include their zeros: noise of full rank has none.

    Args:
      s: (b,) singular values, any order.
      m, n, level: static; see `right_threshold`.
      sigma: standard deviation of the noise, may be traced.
      eps: machine epsilon of the dtype that W was rounded to, may be traced. bfloat16 and float16 weights are exact
        numbers in float32, and come out of products rounded far finer than their own eps says: float32's serves.
      thresholds: right and left, as functions of (m, n, level), static; those of Gaussian noise unless told.

    Returns:
      (num_right, num_left), int32 scalars; -1 where there is no test.
    """
    right, left = (threshold(m, n, level) for threshold in thresholds)
    return num_beyond(s, m, n, sigma, right, left, eps)


def num_beyond(s: Any, m: int, n: int, sigma: Any, right: Any, left: Any, eps: Any = EPS) -> tuple[Array, Array]:
    """`num_outliers` with the thresholds at hand, in units of sigma; everything but the shape may be traced."""
    xp = namespace(s, sigma, right, left, eps)
    s, sigma = xp.asarray(s, xp.float64), xp.asarray(sigma, xp.float64)
    assert s.shape == (min(m, n),), f"{s.shape} singular values of a {m} x {n} matrix"
    assert np.ndim(eps) == sigma.ndim == 0, "one matrix has one sigma and one eps"
    rank = xp.sum(s > xp.max(s) * max(m, n) * eps)
    testable = (s.size >= FEWEST) & (2 * rank >= s.size) & ~xp.isnan(sigma)
    counts = xp.sum(s > right * sigma, dtype=xp.int32), xp.sum(s < left * sigma, dtype=xp.int32)
    return xp.where(testable, counts[0], -1), xp.where(testable, counts[1], -1)


def _check(m: int, n: int, level: float) -> tuple[int, int]:
    if m < 1 or n < 1:
        raise ValueError(f"a matrix needs at least one row and one column, got shape ({m}, {n})")
    if not 1e-9 <= level <= 0.5:
        raise ValueError(f"level must lie in [1e-9, 0.5], got {level}")
    return max(m, n), min(m, n)
