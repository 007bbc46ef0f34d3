"""Power-law fit of the tail of a spectrum: exponent by maximum likelihood, start of the tail by Kolmogorov-Smirnov.

For a tail of the n largest eigenvalues that starts at x = lambda_i the density is (alpha - 1) / x (lambda / x)^-alpha
and alpha = 1 + n / sum ln(lambda / x). Every eigenvalue but the largest is tried as x; the one whose tail is nearest to
its law is taken.

References: Clauset, Shalizi & Newman, SIAM Rev. 51 (2009) 661; Martin, Peng & Mahoney, Nat. Commun. 12 (2021) 4122.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

METHODS = ("default", "weightwatcher")
ABSOLUTE_CUT = 1e-5  # WeightWatcher drops eigenvalues below this, whatever the matrix's scale
SMALL_SAMPLE = (
    20  # below this many eigenvalues WeightWatcher takes the unbiased exponent and tails of at least
)
SMALL_TAIL = 8  # this many
BLOCK = 32  # candidates a step: bounds the memory at BLOCK * N, and fits a cache


class PowerLaw(NamedTuple):
    """alpha: exponent. xmin: where the tail starts. d: its KS distance. sigma: (alpha - 1) / sqrt(num_spikes), the
    standard error of alpha. num_spikes: eigenvalues in the tail, lambda >= xmin. NaN and 0 where there is no tail."""

    alpha: Array
    xmin: Array
    d: Array
    sigma: Array
    num_spikes: Array


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
    size = evals.shape[0]
    ordered = -jnp.sort(-jnp.where(evals > 0, evals, 0.0))  # descending: tail i is the ranks 0..i
    if method == "weightwatcher":
        cut = jnp.asarray(ABSOLUTE_CUT)
    else:
        cut = ordered[0] * (size * jnp.finfo(jnp.float64).eps) ** 2
    num_valid = jnp.sum(ordered > cut)
    logs = jnp.log(jnp.where(ordered > cut, ordered, 1.0))
    small = (num_valid < SMALL_SAMPLE) & (method == "weightwatcher")

    rank = jnp.arange(size)
    n = rank + 1.0
    log_sum = jnp.cumsum(logs) - n * logs
    alpha = 1 + (n - small) / log_sum
    smallest_tail = jnp.where(small, SMALL_TAIL, 2)
    candidate = (n >= smallest_tail) & (rank < num_valid)

    def distance(i: Array) -> Array:
        cdf = 1 - jnp.exp((1 - alpha[i]) * (logs - logs[i]))  # at the tail's eigenvalues, ranks j <= i
        below = (i - rank) / n[i]  # fraction of the tail strictly below
        gap = jnp.abs(cdf - below)
        if method == "default":
            gap = jnp.maximum(gap, jnp.abs(cdf - below - 1 / n[i]))
        return jnp.max(jnp.where(rank <= i, gap, 0.0))

    d = lax.map(distance, rank, batch_size=min(BLOCK, size))
    d = jnp.where(alpha > 1, d, 1.0)
    # The longest tail wins a tie, as it does for argmin over ascending eigenvalues.
    best = size - 1 - jnp.argmin(jnp.where(candidate, d, jnp.inf)[::-1])
    exists = jnp.any(candidate)

    def chosen(x: Array) -> Array:
        return jnp.where(exists, x[best], jnp.nan)

    count = jnp.where(exists, jnp.sum((ordered >= ordered[best]) & (ordered > cut)), 0)
    return PowerLaw(
        chosen(alpha), chosen(ordered), chosen(d), chosen((alpha - 1) / jnp.sqrt(n)), count.astype(jnp.int32)
    )


fit_batch = jax.jit(jax.vmap(fit, in_axes=(0, None)), static_argnums=1)
