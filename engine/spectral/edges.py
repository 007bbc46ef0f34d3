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

from functools import lru_cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.special import chdtri, gammaincinv

from eigensweep.engine.spectral import hard_edge, tracy_widom

EPS = float(np.finfo(np.float64).eps)
_HARD = 64  # largest d = a - b at which the left edge counts as hard, if it is no more than b/4 either


@lru_cache(maxsize=4096)
def right_threshold(m: int, n: int, level: float) -> float:
    """The value that s_max/sigma of an m x n Gaussian matrix exceeds with probability `level`."""
    a, b = _check(m, n, level)
    if b == 1:
        return float(np.sqrt(chdtri(a, level)))
    root_a, root_b = np.sqrt(a - 0.5), np.sqrt(b - 0.5)
    mean = (root_a + root_b) ** 2
    scale = (root_a + root_b) * (1 / root_a + 1 / root_b) ** (1 / 3)
    return float(np.sqrt(mean + tracy_widom.quantile(1 - level) * scale))


@lru_cache(maxsize=4096)
def left_threshold(m: int, n: int, level: float) -> float:
    """The value that s_min/sigma of an m x n Gaussian matrix falls below with probability `level`."""
    a, b = _check(m, n, level)
    if b == 1:
        return float(np.sqrt(2 * gammaincinv(a / 2, level)))
    if a == b:
        return float(np.sqrt(hard_edge.quantile(level, 0) / b))
    if a - b <= min(b / 4, _HARD):
        return float(np.sqrt(2 * hard_edge.quantile(level, a - b) / (a + b - 1)))
    root_a, root_b = np.sqrt(a - 0.5), np.sqrt(b - 0.5)
    mean = (root_a - root_b) ** 2
    scale = (root_a - root_b) * (1 / root_b - 1 / root_a) ** (1 / 3)
    return float(np.sqrt(mean) * np.exp(-tracy_widom.quantile(1 - level) * scale / mean / 2))


@partial(jax.jit, static_argnames=("m", "n", "level"))
def num_outliers(
    s: ArrayLike, m: int, n: int, sigma: ArrayLike, level: float = 0.01, eps: ArrayLike = EPS
) -> tuple[Array, Array]:
    """How many singular values lie above and below what noise of standard deviation sigma reaches: the outliers.

    The first false outlier on a side has probability `level` a matrix. After k true ones noise fills only
    (m - k) x (n - k) dimensions and both thresholds err to the safe side.

    Values that rounding alone explains, s <= 4 eps |W|_F (1/sqrt(m) + 1/sqrt(n)) (four times the spectral norm of
    independent relative errors of size eps), are never right outliers: sigma can be as small as rounding where the
    rest of the matrix is zero, as in a product of low rank. Left outliers include the zeros of a rank-deficient matrix:
    noise of full rank has none. But a bulk that is all rounding, sigma (sqrt(m) + sqrt(n)) < s_max max(m, n) eps, has
    no left edge and none of them. With sigma = NaN there are none on either side.

    Args:
      s: (b,) singular values, any order.
      m, n, level: static; see `right_threshold`.
      sigma: standard deviation of the noise, may be traced.
      eps: machine epsilon of the dtype that W was rounded to, may be traced. bfloat16 and float16 weights are exact
        numbers in float32, and come out of products rounded far finer than their own eps says: float32's serves.

    Returns:
      (num_right, num_left), int32 scalars.
    """
    return num_beyond(s, m, n, sigma, right_threshold(m, n, level), left_threshold(m, n, level), eps)


def num_beyond(
    s: ArrayLike, m: int, n: int, sigma: ArrayLike, right: float, left: float, eps: ArrayLike = EPS
) -> tuple[Array, Array]:
    """`num_outliers` with thresholds of one's own, `right` and `left`, in units of sigma."""
    s, sigma = jnp.asarray(s, jnp.float64), jnp.asarray(sigma, jnp.float64)
    chex.assert_shape(s, (min(m, n),))
    chex.assert_rank([sigma, eps], 0)
    rounding = 4 * eps * jnp.sqrt(jnp.sum(s**2)) * (m**-0.5 + n**-0.5)
    only_rounding = sigma * (m**0.5 + n**0.5) < jnp.max(s, initial=0.0) * max(m, n) * eps
    above = s > jnp.maximum(right * sigma, rounding)
    below = (s < left * sigma) & ~only_rounding
    return jnp.sum(above, dtype=jnp.int32), jnp.sum(below, dtype=jnp.int32)


def _check(m: int, n: int, level: float) -> tuple[int, int]:
    if m < 1 or n < 1:
        raise ValueError(f"a matrix needs at least one row and one column, got shape ({m}, {n})")
    if not 1e-9 <= level <= 0.5:
        raise ValueError(f"level must lie in [1e-9, 0.5], got {level}")
    return max(m, n), min(m, n)
