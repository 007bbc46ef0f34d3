"""What a power-law fit is worth, by simulation: an interval of alpha, and whether the tail is a power law at all.

Every replica is a spectrum that goes through the whole fit, the choice of xmin included. Replicas are drawn in
descending order without a sort: with e_i exponential, (e_1 + ... + e_k) / (e_1 + ... + e_(N+1)), k = 1..N, are the order
statistics of N uniform numbers, and a quantile function of theirs is a sorted sample.

One replica costs one fit, N^2 / 2 exponentials and as many comparisons (N eigenvalues): measured, with the command, in
`tests/spectral/test_power_law_bootstrap.py`.

Reference: A. Clauset, C. R. Shalizi, M. E. J. Newman, Power-law distributions in empirical data, SIAM Rev. 51 (2009) 661.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from eigensweep.engine.spectral import power_law
from eigensweep.engine.spectral.power_law import PowerLaw

AT_ONCE = 1 << 22  # bytes of the largest array of the replicas fitted together: what fits a cache is fastest


@partial(jax.jit, static_argnames=("num", "confidence", "method"))
def interval(
    key: Array, ordered: Array, num: int, confidence: float = 0.95, method: str = "default"
) -> tuple[Array, Array]:
    """Percentile interval of alpha by bootstrap, xmin re-fitted in each replica; jittable, vmappable.

    Resampling takes the eigenvalues for independent draws. They are not: eigenvalues of a random matrix repel each other
    and lie far more evenly than a sample, so that this interval describes how alpha depends on which values are there,
    and is no confidence interval over matrices. The resampled spectra also have ties. For independent Pareto samples
    its coverage is measured in the tests.

    Args:
      key: of the replicas.
      ordered: (N,) eigenvalues, descending, none below zero; zeros are left out.
      num: number of replicas, static.
      confidence: of the interval, static.
      method: see `power_law.fit`.

    Returns:
      (low, high), float64; NaN where there is no fit.
    """
    size = _size(ordered, method)

    def draw(v: Array) -> Array:
        return ordered[jnp.minimum((v * size).astype(jnp.int32), size - 1)]

    alpha = _fits(key, draw, ordered.size, size, num, method).alpha
    low, high = jnp.nanquantile(alpha, jnp.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    none = jnp.isnan(power_law.fit_ordered(ordered, method).alpha)
    return jnp.where(none, jnp.nan, low), jnp.where(none, jnp.nan, high)


@partial(jax.jit, static_argnames=("num", "method"))
def goodness_of_fit(key: Array, ordered: Array, num: int, method: str = "default") -> Array:
    """p-value of the power law: (1 + #{replicas whose KS distance is at least as large}) / (1 + num).

    Semi-parametric replicas: a share n/N of the values follows the fitted law above xmin (n values in the tail), the
    rest are draws from the values below it. Clauset, Shalizi and Newman give the law up at p <= 0.1. It tests
    independent values; eigenvalues that repel each other lie nearer to their law, so the test errs towards keeping it.

    Args:
      key, ordered, num, method: see `interval`.

    Returns:
      float64 scalar in [1/(1 + num), 1]; NaN where there is no fit.
    """
    law, size = power_law.fit_ordered(ordered, method), _size(ordered, method)
    tail = law.num_spikes
    share = tail / size

    def draw(v: Array) -> Array:
        above = law.xmin * (v / share) ** (-1 / (law.alpha - 1))
        rank = tail + ((v - share) / (1 - share) * (size - tail)).astype(jnp.int32)
        return jnp.where(v < share, above, ordered[jnp.clip(rank, 0, size - 1)])

    d = _fits(key, draw, ordered.size, size, num, method).d
    # a replica without a fit is no evidence against the law
    return jnp.where(jnp.isnan(law.d), jnp.nan, (1 + jnp.sum(~(d < law.d))) / (1 + num))


def _size(ordered: Array, method: str) -> Array:
    """How many values count."""
    return jnp.maximum(jnp.sum(ordered > power_law.lowest(ordered, method)), 1)


def _fits(key: Array, draw: Callable[[Array], Array], length: int, size: Array, num: int, method: str) -> PowerLaw:
    """The fits of `num` samples of `size` values; draw: quantile function from above, of v ascending in (0, 1)."""

    def one(key: Array) -> PowerLaw:
        e = jax.random.exponential(key, (length + 1,), jnp.float64)
        within = jnp.arange(length) < size
        sums = jnp.cumsum(jnp.where(within, e[:-1], 0.0))
        return power_law.fit_ordered(jnp.where(within, draw(sums / (sums[-1] + e[-1])), 0.0), method)

    together = max(1, AT_ONCE // (8 * power_law.BLOCK * length))
    return lax.map(one, jax.random.split(key, num), batch_size=min(together, num))
