"""Power-law fit of the tail of a spectrum: exponent by maximum likelihood, start of the tail by Kolmogorov-Smirnov.

For a tail of the n largest eigenvalues that starts at x = lambda_i the density is (alpha - 1) / x (lambda / x)^-alpha
and alpha = 1 + n / sum ln(lambda / x). Every eigenvalue but the largest is tried as x; the one whose tail is nearest to
its law is taken. What the data say of alpha and of the law itself: `power_law_bootstrap` and `power_law_ratios`.

References: Clauset, Shalizi & Newman, SIAM Rev. 51 (2009) 661; Martin, Peng & Mahoney, Nat. Commun. 12 (2021) 4122.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jax import Array

from eigensweep.engine.spectral.arrays import compiled, namespace, over_rows

METHODS = ("default", "weightwatcher")
ABSOLUTE_CUT = 1e-5  # WeightWatcher drops eigenvalues below this, whatever the matrix's scale
# Below SMALL_SAMPLE eigenvalues WeightWatcher takes the unbiased exponent and tails of at least SMALL_TAIL.
SMALL_SAMPLE, SMALL_TAIL = 20, 8
MIN_TAIL = 10  # shortest tail of the default fit: below it any few values lie near some power law
_EPS = float(np.finfo(np.float64).eps)
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


@compiled("method")
def fit(evals: Any, method: str = "default") -> PowerLaw:
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
    xp = namespace(evals)
    evals = xp.asarray(evals, xp.float64)
    assert evals.ndim == 1, f"eigenvalues of one matrix, not {evals.shape}"
    return fit_ordered(-xp.sort(-xp.where(evals > 0, evals, 0.0)), method)


@compiled("method")
def fit_ordered(ordered: Any, method: str = "default") -> PowerLaw:
    """`fit` without its sort.

    Args:
      ordered: (N,) descending, none below zero; zeros, which come last, are left out.
      method: see `fit`.
    """
    if method not in METHODS:
        raise ValueError(f"power-law method {method!r}: expected one of {', '.join(METHODS)}")
    xp = namespace(ordered)
    ordered = xp.asarray(ordered, xp.float64)
    valid = ordered > lowest(ordered, method)
    num_valid = xp.sum(valid)
    small = (num_valid < SMALL_SAMPLE) & (method == "weightwatcher")
    logs = xp.log(xp.where(valid, ordered, 1.0))
    alpha, d = _candidates(logs, small, method)

    tail = xp.arange(1, ordered.size + 1)
    if method == "default":
        allowed = (tail >= MIN_TAIL) & ((logs > xp.roll(logs, -1)) | (tail == num_valid))
    else:
        allowed = tail >= xp.where(small, SMALL_TAIL, 2)
    candidate = allowed & (tail <= num_valid) & xp.isfinite(alpha)
    # The longest tail wins a tie, as it does for argmin over ascending eigenvalues.
    best = ordered.size - 1 - xp.argmin(xp.where(candidate, d, xp.inf)[::-1])
    xmin = ordered[best]
    sigma = (alpha[best] - 1) / xp.sqrt(tail[best])
    num_spikes = xp.sum((ordered >= xmin) & valid)
    none = ~xp.any(candidate)
    best_alpha, xmin, distance, sigma = (xp.where(none, xp.nan, x) for x in (alpha[best], xmin, d[best], sigma))
    return PowerLaw(best_alpha, xmin, distance, sigma, xp.where(none, 0, num_spikes).astype(xp.int32))


def lowest(ordered: Array, method: str) -> Any:
    """What counts as an eigenvalue lies above this; ordered: descending."""
    return ABSOLUTE_CUT if method == "weightwatcher" else ordered[0] * (ordered.size * _EPS) ** 2


def _candidates(logs: Array, small: Array, method: str) -> tuple[Array, Array]:
    """Exponent and KS distance of every tail i = ranks 0..i, from the logarithms (N,) in descending order."""
    xp, size = namespace(logs, small), logs.size

    def some(i: Array) -> tuple[Array, Array]:
        longest = logs[: i[-1] + 1] if xp is np else logs  # a compiled program has one shape for all
        rank = xp.arange(longest.size)
        n, within = i + 1.0, rank <= i[:, None]
        above = xp.where(within, longest - logs[i][:, None], 0.0)  # ln(lambda_j / lambda_i)
        alpha = 1 + (n - small) / xp.sum(above, axis=1)
        # where all values so far are equal alpha is infinite and its product with 0 NaN, which would win every argmin
        cdf = 1 - xp.exp(xp.where(above > 0, (1 - alpha[:, None]) * above, 0.0))
        below = (i[:, None] - rank) / n[:, None]  # the fraction of the tail that lies below lambda_j
        gap = xp.abs(cdf - below)
        if method == "default":
            gap = xp.maximum(gap, xp.abs(cdf - below - 1 / n[:, None]))
        return alpha, xp.where(alpha > 1, xp.max(xp.where(within, gap, 0.0), axis=1), 1.0)

    block = min(BLOCK, size)
    blocks = xp.minimum(xp.arange(-(-size // block) * block), size - 1).reshape(-1, block)
    alpha, d = over_rows(some, blocks)
    return alpha.reshape(-1)[:size], d.reshape(-1)[:size]
