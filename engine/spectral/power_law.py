"""Power-law fit of the tail of a spectrum: exponent by maximum likelihood, start of the tail by Kolmogorov-Smirnov.

For a tail of the n largest eigenvalues that starts at x = lambda_i the density is (alpha - 1) / x (lambda / x)^-alpha
and alpha = 1 + n / sum ln(lambda / x). Every eigenvalue but the largest is tried as x; the one whose tail is nearest to
its law is taken.

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
BLOCK = 32  # candidates a step: bounds the memory at BLOCK * N, and fits a cache


class PowerLaw(NamedTuple):
    """alpha: exponent. xmin: where the tail starts. d: its KS distance. sigma: (alpha - 1) / sqrt(num_spikes), the
    standard error of alpha. num_spikes: eigenvalues in the tail, lambda >= xmin. NaN and 0 where there is no tail."""

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
      method: "default": the two-sided KS distance max_k max(|F_k - k/n|, |F_k - (k+1)/n|), and no absolute cut
        (a relative one removes rounding noise). "weightwatcher": WeightWatcher 0.7.7's fit, number for number:
        eigenvalues above 1e-5, the one-sided grid max_k |F_k - k/n|, its own rule below 20 eigenvalues.

    Raises:
      ValueError: unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"power-law method {method!r}: expected one of {', '.join(METHODS)}")
    evals = jnp.asarray(evals, jnp.float64)
    chex.assert_rank(evals, 1)
    ordered = -jnp.sort(-jnp.where(evals > 0, evals, 0.0))  # descending: tail i is the ranks 0..i
    cut = _cut(ordered, method)
    num_valid = jnp.sum(ordered > cut)
    small = (num_valid < SMALL_SAMPLE) & (method == "weightwatcher")
    alpha, d = _candidates(jnp.log(jnp.where(ordered > cut, ordered, 1.0)), small, method)

    tail = jnp.arange(1, ordered.size + 1)
    candidate = (tail >= jnp.where(small, SMALL_TAIL, 2)) & (tail <= num_valid)
    # The longest tail wins a tie, as it does for argmin over ascending eigenvalues.
    best = ordered.size - 1 - jnp.argmin(jnp.where(candidate, d, jnp.inf)[::-1])
    xmin = ordered[best]
    sigma = (alpha[best] - 1) / jnp.sqrt(tail[best])
    num_spikes = jnp.sum((ordered >= xmin) & (ordered > cut))
    none = ~jnp.any(candidate)
    nan = jnp.where(none, jnp.nan, 0.0)
    count = jnp.where(none, 0, num_spikes).astype(jnp.int32)
    return PowerLaw(alpha[best] + nan, xmin + nan, d[best] + nan, sigma + nan, count)


def _cut(ordered: Array, method: str) -> Array:
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
        cdf = 1 - jnp.exp((1 - alpha) * above)
        below = (i - rank) / n  # the fraction of the tail that lies below lambda_j
        gap = jnp.abs(cdf - below)
        if method == "default":
            gap = jnp.maximum(gap, jnp.abs(cdf - below - 1 / n))
        return alpha, jnp.where(alpha > 1, jnp.max(jnp.where(rank <= i, gap, 0.0)), 1.0)

    block = min(BLOCK, size)
    blocks = jnp.minimum(jnp.arange(-(-size // block) * block), size - 1).reshape(-1, block)
    alpha, d = lax.map(jax.vmap(one), blocks)
    return alpha.reshape(-1)[:size], d.reshape(-1)[:size]
