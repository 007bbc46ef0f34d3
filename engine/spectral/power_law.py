"""Power-law fit of the tail of a spectrum: exponent by maximum likelihood, start of the tail by Kolmogorov-Smirnov.

For a tail of the n largest eigenvalues that starts at x = lambda_i the density is (alpha - 1) / x (lambda / x)^-alpha
and alpha = 1 + n / sum ln(lambda / x). Every eigenvalue but the largest is tried as x; the one whose tail is nearest to
its law is taken. What the data say of alpha and of the law itself: `power_law_bootstrap` and `power_law_ratios`.

References: Clauset, Shalizi & Newman, SIAM Rev. 51 (2009) 661; Martin, Peng & Mahoney, Nat. Commun. 12 (2021) 4122.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

METHODS = ("default", "weightwatcher")
ABSOLUTE_CUT = 1e-5  # WeightWatcher drops eigenvalues below this, whatever the matrix's scale
# Below SMALL_SAMPLE eigenvalues WeightWatcher takes the unbiased exponent and tails of at least SMALL_TAIL.
SMALL_SAMPLE, SMALL_TAIL = 20, 8
MIN_TAIL = 10  # shortest tail of the default fit: below it any few values lie near some power law
BLOCK = 32  # candidates a step: bounds the memory at BLOCK * N, and fits a cache


class PowerLaw(NamedTuple):
    """alpha: exponent. xmin: where the tail starts. d: its KS distance. sigma: (alpha - 1) / sqrt(num_spikes).
    num_spikes: eigenvalues in the tail, lambda >= xmin. NaN and 0 where there is no tail.

    sigma is the standard error of alpha for independent values and a start of the tail that is given. Here xmin is
    chosen by the same values, which sigma ignores; `power_law_bootstrap.interval` chooses it anew in every replica."""

    alpha: Array
    xmin: Array
    d: Array
    sigma: Array
    num_spikes: Array


@partial(jax.jit, static_argnames="method")
def fit(evals: ArrayLike, method: str = "default") -> PowerLaw:
    """Fit a power law to the upper tail of one spectrum; jittable, vmappable.

    Args:
      evals: (N,) eigenvalues s^2 in any order. NaN and values not above zero are left out.
      method: "default": the two-sided KS distance max_k max(|F_k - k/n|, |F_k - (k+1)/n|), no absolute cut (a relative
        one removes rounding noise), tails of at least MIN_TAIL values, of which equal ones are all in or all out.
        "weightwatcher": WeightWatcher 0.7.7's fit, number for number: eigenvalues above 1e-5, the one-sided grid
        max_k |F_k - k/n|, its own rule below 20 eigenvalues.

    Values that are all equal have no exponent: such a tail is never taken.

    Raises:
      ValueError: unknown method.
    """
    evals = jnp.asarray(evals, jnp.float64)
    chex.assert_rank(evals, 1)
    return fit_ordered(-jnp.sort(-jnp.where(evals > 0, evals, 0.0)), method)


@partial(jax.jit, static_argnames="method")
def fit_ordered(ordered: ArrayLike, method: str = "default") -> PowerLaw:
    """`fit` without its sort.

    Args:
      ordered: (N,) descending, none below zero; zeros, which come last, are left out.
      method: see `fit`.
    """
    if method not in METHODS:
        raise ValueError(f"power-law method {method!r}: expected one of {', '.join(METHODS)}")
    ordered = jnp.asarray(ordered, jnp.float64)
    valid = ordered > lowest(ordered, method)
    num_valid = jnp.sum(valid)
    small = (num_valid < SMALL_SAMPLE) & (method == "weightwatcher")
    logs = jnp.log(jnp.where(valid, ordered, 1.0))
    alpha, d = _candidates(logs, small, method)

    tail = jnp.arange(1, ordered.size + 1)
    if method == "default":
        allowed = (tail >= MIN_TAIL) & ((logs > jnp.roll(logs, -1)) | (tail == num_valid))
    else:
        allowed = tail >= jnp.where(small, SMALL_TAIL, 2)
    candidate = allowed & (tail <= num_valid) & jnp.isfinite(alpha)
    # The longest tail wins a tie, as it does for argmin over ascending eigenvalues.
    best = ordered.size - 1 - jnp.argmin(jnp.where(candidate, d, jnp.inf)[::-1])
    xmin = ordered[best]
    sigma = (alpha[best] - 1) / jnp.sqrt(tail[best])
    num_spikes = jnp.sum((ordered >= xmin) & valid)
    none = ~jnp.any(candidate)
    best_alpha, xmin, distance, sigma = (jnp.where(none, jnp.nan, x) for x in (alpha[best], xmin, d[best], sigma))
    return PowerLaw(best_alpha, xmin, distance, sigma, jnp.where(none, 0, num_spikes).astype(jnp.int32))


def lowest(ordered: Array, method: str) -> Array:
    """What counts as an eigenvalue lies above this; ordered: descending."""
    if method == "weightwatcher":
        return jnp.asarray(ABSOLUTE_CUT)
    return ordered[0] * (ordered.size * jnp.finfo(jnp.float64).eps) ** 2


def _candidates(logs: Array, small: Array, method: str) -> tuple[Array, Array]:
    """Exponent and KS distance of every tail i = ranks 0..i, from the logarithms (N,) in descending order."""
    size = logs.size
    rank = jnp.arange(size)

    def one(i: Array) -> tuple[Array, Array]:
        n = i + 1.0
        above = jnp.where(rank <= i, logs - logs[i], 0.0)  # ln(lambda_j / lambda_i)
        alpha = 1 + (n - small) / jnp.sum(above)
        # where all values so far are equal alpha is infinite and its product with 0 NaN, which would win every argmin
        cdf = 1 - jnp.exp(jnp.where(above > 0, (1 - alpha) * above, 0.0))
        below = (i - rank) / n  # the fraction of the tail that lies below lambda_j
        gap = jnp.abs(cdf - below)
        if method == "default":
            gap = jnp.maximum(gap, jnp.abs(cdf - below - 1 / n))
        return alpha, jnp.where(alpha > 1, jnp.max(jnp.where(rank <= i, gap, 0.0)), 1.0)

    block = min(BLOCK, size)
    blocks = jnp.minimum(jnp.arange(-(-size // block) * block), size - 1).reshape(-1, block)
    alpha, d = lax.map(jax.vmap(one), blocks)
    return alpha.reshape(-1)[:size], d.reshape(-1)[:size]
