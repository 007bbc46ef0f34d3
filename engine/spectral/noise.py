"""How large is the noise? Three answers: the entries' spread, the initialisation's, the bulk's.

A trained matrix is noise plus signal, and the signal inflates the spread of the entries. `sigma_bulk` asks the
singular values between the signal's instead.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from eigensweep.engine.spectral import edges, marchenko_pastur

_TRIM = 10  # a tenth of the bulk's values is left out at each end, where weak signal hides
_CAP = 4  # at most a quarter of all values is taken out of the bulk as outliers, on each side
_ITERATIONS = 20  # trained matrices settle within 12, Gaussian ones within 6
_LEVEL = (
    1e-4  # of the outlier tests inside the fit: taking out noise at the level tested later would lower sigma
)


@jax.jit
def sigma_entries(w: ArrayLike) -> Array:
    """Standard deviation of all entries of w, about their mean: float64 scalar. Any shape, any floating dtype."""
    return jnp.std(jnp.asarray(w), dtype=jnp.float64)


def sigma_init(m: int) -> float:
    """1/sqrt(m): the usual initialisation of an m x n matrix."""
    if m < 1:
        raise ValueError(f"a matrix needs at least one row, got m = {m}")
    return m**-0.5


def sigma_bulk(s: Array, m: int, n: int) -> Array:
    """The noise level at which the middle of the spectrum follows the Marchenko-Pastur law.

    With k values above the right edge and l below the left one taken out, the rest is held against noise of shape
    (a - k, b - k - l): k strong spikes take k dimensions from both sides of W, l missing directions only from the
    shorter. The lowest and the highest tenth of the rest are trimmed, and

        sigma^2 = (sum of s_i^2 over the middle) / (the same sum expected at sigma = 1),

    with the expectation's 1/b term (see `_sum_below`). k and l follow from sigma and sigma from k and l; the
    iteration starts at the median. On Gaussian matrices the bias is below 1e-3 of sigma^2 from 16 x 16 on, and the
    standard deviation of log sigma about 0.76/sqrt(m n) when square, 0.72/sqrt(m n) when long: as good as that of the
    entries, 0.71/sqrt(m n), and a third or less of the edge's own spread.

    On a trained matrix whose bulk is no Marchenko-Pastur law it is the fixed point of the same iteration: the noise
    level of the part that no outlier test at level 0.01 takes out. Up to a quarter of the values on each side can be
    taken out, so the result cannot slide to 0. Where more than half of the values are 0 (a product of rank r < b/2)
    it is 0, the noise of such a matrix: every non-zero value is then an outlier.

    Args:
      s: (b,) singular values, descending.
      m, n: shape of the matrix, static; b = min(m, n).

    Returns:
      sigma, float64 scalar, in the units of the entries; NaN if s holds NaN. With b = 1 it is |w|/sqrt(a).
    """
    a, b = max(m, n), min(m, n)
    if s.shape != (b,):
        raise ValueError(f"a {m} x {n} matrix has {b} singular values, got an array of shape {s.shape}")
    evals = jnp.asarray(s, jnp.float64)[::-1] ** 2
    rank = jnp.arange(b)
    right, left = edges.right_threshold(m, n, _LEVEL) ** 2, edges.left_threshold(m, n, _LEVEL) ** 2

    def refit(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        variance, theta = state
        num_right = jnp.minimum(jnp.sum(evals > right * variance), b // _CAP)
        num_left = jnp.minimum(jnp.sum(evals < left * variance), b // _CAP)
        rest = b - num_right - num_left
        trim = rest // _TRIM
        middle = (rank >= num_left + trim) & (rank < num_left + rest - trim)
        # one Newton step an iteration for the quantiles that bound the middle: nested loops take XLA long to compile
        r = jnp.sqrt(rest / (a - num_right))
        excess = marchenko_pastur.angle_cdf(theta, r) - jnp.stack([trim, rest - trim]) / rest
        theta = jnp.clip(theta - excess / marchenko_pastur.angle_pdf(theta, r), 1e-3, jnp.pi - 1e-3)
        bounds = jnp.where(trim > 0, theta, jnp.array([0.0, jnp.pi]))
        expected = _sum_below(bounds, a - num_right, rest)
        return jnp.sum(jnp.where(middle, evals, 0.0)) / (expected[1] - expected[0]), theta

    median = (evals[(b - 1) // 2] + evals[b // 2]) / 2
    start = median / (a - b / 3)  # the law's median to 2 %
    return jnp.sqrt(jax.lax.fori_loop(0, _ITERATIONS, refit, (start, jnp.ones(2)))[0])


def _sum_below(theta: Array, a: Array, b: Array) -> Array:
    """Expected sum of the s^2 below the angle theta for an a x b Gaussian matrix, sigma = 1, up to a constant.

    The number of values below theta is b F(theta) + 1/4 - theta/(2 pi) + O(1/b) for real matrices: a quarter of a value
    more at each edge and half a value less, arcsine-distributed, in between (I. Dumitriu, A. Edelman, Global spectrum
    fluctuations for the beta-Hermite and beta-Laguerre ensembles, 2006). Between two fixed ranks that adds
    -integral of (1/4 - theta/(2 pi)) dlambda to b * integral of lambda dF.
    """
    r, sin, cos = jnp.sqrt(b / a), jnp.sin(theta), jnp.cos(theta)
    limit = b * (theta - sin * cos) / jnp.pi
    correction = 2 * r * ((0.25 - theta / (2 * jnp.pi)) * cos + sin / (2 * jnp.pi))
    return a * (limit + correction)
