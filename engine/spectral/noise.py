"""How large is the noise? Three answers: the entries' spread, the initialisation's, the bulk's.

A trained matrix is noise plus signal, and the signal inflates the spread of the entries. `sigma_bulk` asks the
singular values between the signal's instead.
"""

import math
from typing import Any

from jax import Array

from eigensweep.engine.spectral import edges, marchenko_pastur
from eigensweep.engine.spectral.arrays import compiled, iterate, namespace

_SMALL = 10  # with fewer values none are trimmed
_CAP = 2  # at most half of all values are taken out of the bulk as outliers, both sides together
_ITERATIONS = 20  # those of MiniLM, GPT-2 and Llama checkpoints settled within 5
_LEVEL = 1e-4  # of the outlier tests inside the fit: at the level tested later they would take out noise


def sigma_init(m: int, n: int, init: str = "fan_out") -> float:
    """The standard deviation that an m x n matrix was initialised with.

    Args:
      init: fan_out 1/sqrt(m), fan_in 1/sqrt(n), or the number itself as text, say "0.02".

    Raises:
      ValueError: none of these, or a number that is not positive and finite.
    """
    fans = {"fan_out": m, "fan_in": n}
    if init in fans:
        return fans[init] ** -0.5
    try:
        sigma = float(init)
    except ValueError:
        sigma = math.nan
    if not 0 < sigma < math.inf:
        raise ValueError(f"init is {init!r}; expected fan_out, fan_in or a positive number such as 0.02")
    return sigma


@compiled("m", "n")
def sigma_bulk(s: Any, m: int, n: int) -> Array:
    """The noise level at which the middle of the spectrum follows the Marchenko-Pastur law.

    With k values above the right edge and l below the left one taken out, the rest is held against noise of shape
    (a - k, b - k - l): k strong spikes take k dimensions from both sides of W, l missing directions only from the
    shorter. Of the rest the top tenth, where weak signal hides, and the bottom 7 to 10 % are trimmed, and

        sigma^2 = (sum of s_i^2 over the middle) / (the same sum expected at sigma = 1),

    with the expectation's 1/b term (see `_sum_below`). k and l follow from sigma, and sigma from k and l: the iteration
    starts at the median. On Gaussian matrices the bias of sigma^2 is below 1e-3 from 64 x 64 on and below 0.013 from
    16 x 16 on; the standard deviation of log sigma is about 0.76/sqrt(m n), against 0.71/sqrt(m n) for that of the
    entries; that is 0.7, 0.5, 0.3 of the edge's own at 16 x 16, 64 x 64, 384 x 384. Outlier tests keep their level with
    the fitted sigma from b = 12 on (0.05 and 0.01 fire at 0.048 and 0.012 on the right of 12 x 12 and 16 x 16). With 8
    values they lose power (0.010 and 0.009 on the right of 8 x 8, 0.026 and 0.003 of 1000 x 8), and below there are
    none (`edges.FEWEST`). The rates are `eigensweep-calibrate`'s with 8,000 matrices.

    Up to b/2 values, both sides together, can be outliers; what has more has no bulk that is the majority, and sigma
    means little there. On a trained matrix whose bulk is no Marchenko-Pastur law it is the fixed point of the same
    iteration: the noise level of what no outlier test takes out, and it cannot slide to 0. Where more than half of the
    values are 0 (a product of rank r < b/2) it is 0, or what rounding left there.

    Args:
      s: (b,) singular values, descending.
      m, n: shape of the matrix, static; b = min(m, n).

    Returns:
      sigma, float64 scalar, in the units of the entries; NaN if s holds NaN. With b = 1 it is |w|/sqrt(a).

    Raises:
      ValueError: s has not b entries.
    """
    xp, a, b = namespace(s), max(m, n), min(m, n)
    s = xp.asarray(s, xp.float64)
    if s.shape != (b,):
        raise ValueError(f"a {m} x {n} matrix has {b} singular values, got an array of shape {s.shape}")
    evals = s[::-1] ** 2
    index = xp.arange(b)
    right, left = edges.right_threshold(m, n, _LEVEL) ** 2, edges.left_threshold(m, n, _LEVEL) ** 2

    def refit(variance: Array) -> Array:
        num_right, num_left = _within(b // _CAP, xp.sum(evals > right * variance), xp.sum(evals < left * variance))
        height, width = a - num_right, b - num_right - num_left
        r = xp.sqrt(width / height)
        # angles near the law's quantiles 0.07 to 0.10 and 0.90 to 0.91, whatever r: no quantile has to be solved for
        theta = xp.stack([0.8 - 0.64 * r, 2.35 - 0.47 * r]) if b >= _SMALL else xp.array([0.0, xp.pi])
        low, high = num_left + width * marchenko_pastur.angle_cdf(theta, r)
        # value i stands for the ranks from i to i + 1; those at the bounds count in part
        weight = xp.clip(xp.minimum(index + 1, high) - xp.maximum(index, low), 0, 1)
        expected = _sum_below(theta, height, width)
        return xp.sum(weight * evals) / (expected[1] - expected[0])

    median = (evals[(b - 1) // 2] + evals[b // 2]) / 2
    start = median / (a - b / 3)  # the law's median to 2 %
    return xp.sqrt(iterate(_ITERATIONS, refit, start))


def _within(cap: int, num_right: Array, num_left: Array) -> tuple[Array, Array]:
    """Both counts, scaled down together where their sum exceeds the cap."""
    xp = namespace(num_right, num_left)
    total = xp.maximum(num_right + num_left, 1)
    fits = num_right + num_left <= cap
    return xp.where(fits, num_right, num_right * cap // total), xp.where(fits, num_left, num_left * cap // total)


def _sum_below(theta: Array, a: Array, b: Array) -> Array:
    """Expected sum of the s^2 below the angle theta for an a x b Gaussian matrix, sigma = 1, up to a constant.

    The number of values below theta is b F(theta) + 1/4 - theta/(2 pi) + O(1/b) for real matrices: a quarter of a value
    more at each edge and half a value less, arcsine-distributed, in between (I. Dumitriu, A. Edelman, Global spectrum
    fluctuations for the beta-Hermite and beta-Laguerre ensembles, 2006). Between two fixed ranks that adds
    -integral of (1/4 - theta/(2 pi)) dlambda to b * integral of lambda dF.
    """
    xp = namespace(theta, a, b)
    r, sin, cos = xp.sqrt(b / a), xp.sin(theta), xp.cos(theta)
    limit = b * (theta - sin * cos) / xp.pi
    correction = 2 * r * ((0.25 - theta / (2 * xp.pi)) * cos + sin / (2 * xp.pi))
    return a * (limit + correction)
