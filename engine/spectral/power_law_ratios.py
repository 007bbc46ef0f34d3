"""Is the tail of a spectrum rather exponential, log-normal, or a power law that is cut off? Likelihood ratios.

For the n values x >= xmin of a tail let y = x / xmin, u = ln y. Each alternative is conditioned on x >= xmin and fitted
by maximum likelihood:

    power law          x^-alpha,                       alpha = 1 + 1 / mean(u)
    exponential        exp(-x rate),                   rate xmin = 1 / (mean(y) - 1)
    log-normal         exp(-(ln x - mu)^2 / 2 w^2)/x:  u normal, cut at 0; one equation in h = (ln xmin - mu) / w
    truncated          x^-alpha exp(-x rate), alpha >= 0, rate >= 0: two equations, nested bisection

With l_i the difference of the log-likelihoods of value i, R = sum l_i is positive where the power law is likelier.
Vuong's z = R / sqrt(n var l) is standard normal where both are equally far from the truth, p = erfc(|z| / sqrt 2). The
power law is a limit of the truncated one, there 2 |R| follows chi-square with one degree of freedom.

Where the spread of u is at least that of an exponential law (mean(u^2) >= 2 mean(u)^2) the likeliest log-normal is the
limit w to infinity, which is the power law: R = 0. So it is for the truncated law where mean(y) is at least the power
law's.

References: Q. H. Vuong, Econometrica 57 (1989) 307; Clauset, Shalizi & Newman, SIAM Rev. 51 (2009) 661; numbers as
in the package `powerlaw` (Alstott, Bullmore & Plenz, PLoS ONE 9 (2014) e85777) where its optimiser finds the maximum.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import erfc, log_ndtr
from jax.typing import ArrayLike

ALTERNATIVES = ("exponential", "lognormal", "truncated")
_STEPS = 55  # bisections: a bracket of any sensible width down to float64's rounding
_SWITCH, _TERMS = 2.0, 60  # from h = 2 on the continued fraction of the normal tail has converged after 60 terms
_FAR = 1e4  # a log-normal cut that far beyond its mean is a power law to rounding
_LEAST = 1e-16  # cut-off rates below this, in units of the largest possible one, are zero
# exp-sinh quadrature on (0, inf) in units of mean(u): u from e^-43 to e^9.5 of them
_T = np.linspace(-4.0, 2.5, 261)
_NODES = np.exp(np.pi / 2 * np.sinh(_T))
_LOG_WEIGHTS = np.log((_T[1] - _T[0]) * np.pi / 2 * np.cosh(_T) * _NODES)


class Ratio(NamedTuple):
    """ratio: R, positive for the power law. z: Vuong's normalised ratio. p: of the two being equally good.

    NaN where there is no tail."""

    ratio: Array
    z: Array
    p: Array


@jax.jit
def likelihood_ratios(ordered: ArrayLike, xmin: ArrayLike) -> dict[str, Ratio]:
    """Power law against every one of ALTERNATIVES on the tail above xmin; jittable, vmappable.

    Args:
      ordered: (N,) values in any order.
      xmin: start of the tail, scalar; NaN for none.

    Returns:
      A `Ratio` an alternative.
    """
    x, xmin = jnp.asarray(ordered, jnp.float64), jnp.asarray(xmin, jnp.float64)
    tail = x >= xmin
    u = jnp.where(tail, jnp.log(jnp.where(tail, x, 1.0) / jnp.where(tail, xmin, 1.0)), 0.0)
    n = jnp.sum(tail)
    law = log_likelihoods(u, tail)
    power = law.pop("power")
    return {name: _ratio(power - other, tail, n, nested=name == "truncated") for name, other in law.items()}


def log_likelihoods(u: Array, tail: Array) -> dict[str, Array]:
    """Of every value of the tail under each fitted law, as densities of y = e^u; (N,) arrays, anything beyond `tail`.

    Args:
      u: (N,) ln(x / xmin).
      tail: (N,) bool.
    """

    def mean(f: Array) -> Array:
        return jnp.sum(jnp.where(tail, f, 0.0)) / jnp.sum(tail)

    first, excess = mean(u), mean(jnp.expm1(u))
    return {
        "power": -jnp.log(first) - (1 + 1 / first) * u,
        "exponential": -jnp.log(excess) - jnp.expm1(u) / excess,
        "lognormal": _lognormal(u, first, mean(u**2)),
        "truncated": _truncated(u, first, excess),
    }


def _ratio(difference: Array, tail: Array, n: Array, *, nested: bool) -> Ratio:
    total = jnp.sum(jnp.where(tail, difference, 0.0))
    spread = jnp.sum(jnp.where(tail, (difference - total / n) ** 2, 0.0))  # n times the variance
    z = jnp.where(spread > 0, total / jnp.sqrt(spread), jnp.where(total == 0, 0.0, jnp.nan))
    p = erfc(jnp.sqrt(jnp.abs(total))) if nested else erfc(jnp.abs(z) / jnp.sqrt(2.0))
    return Ratio(*(jnp.where(n > 0, x, jnp.nan) for x in (total, z, p)))


def _lognormal(u: Array, first: Array, second: Array) -> Array:
    """u = w (t - h), t standard normal beyond h. Then mean(u^2) / mean(u)^2 = (1 - h g) / g^2 rises from 1 to 2 with h,
    where g = phi(h) / (1 - Phi(h)) - h."""

    def ratio(h: Array) -> Array:
        gap, rest = _normal_tail(h)
        return rest / gap**2

    wanted = second / first**2
    h = _bisect(lambda h: ratio(h) < wanted, -_FAR, _FAR)
    gap, _ = _normal_tail(h)
    w = first / gap
    normal = jnp.log(gap + h) - jnp.log(w) - 0.5 * (u / w) ** 2 - h * u / w - u
    return jnp.where(wanted < ratio(jnp.asarray(_FAR)), normal, -jnp.log(first) - (1 + 1 / first) * u)


def _normal_tail(h: Array) -> tuple[Array, Array]:
    """g = phi(h)/(1 - Phi(h)) - h and 1 - h g, without cancellation at large h."""
    far = jnp.maximum(h, _SWITCH)
    # g = 1 / (h + 2 / (h + 3 / (h + ...))); `beyond` is the 2 / (...)
    beyond = lax.fori_loop(0, _TERMS, lambda i, rest: (_TERMS + 1 - i) / (far + rest), jnp.zeros_like(far))
    near = jnp.minimum(h, _SWITCH)
    hazard = jnp.exp(-0.5 * near**2 - 0.5 * jnp.log(2 * jnp.pi) - log_ndtr(-near))
    gap = jnp.where(h > _SWITCH, 1 / (far + beyond), hazard - near)
    return gap, jnp.where(h > _SWITCH, beyond / (far + beyond), 1 - near * (hazard - near))


def _truncated(u: Array, first: Array, excess: Array) -> Array:
    """y^-alpha exp(-rate (y - 1)) / Z(alpha, rate): an exponential family, so that its likelihood is concave.

    For every rate the alpha with E[u] = mean(u); then the rate with E[y] = mean(y). alpha = 0 where the data want less.
    """
    nodes, log_weights = first * jnp.asarray(_NODES), jnp.log(first) + _LOG_WEIGHTS

    def terms(alpha: Array, rate: Array) -> Array:
        return (1 - alpha) * nodes - rate * jnp.expm1(nodes) + log_weights

    def best_alpha(log_rate: Array) -> Array:
        def too_small(alpha: Array) -> Array:  # E[u] falls with alpha
            return jnp.sum(jax.nn.softmax(terms(alpha, jnp.exp(log_rate))) * nodes) > first

        return _bisect(too_small, 0.0, 1 + 1 / first)

    def slope(log_rate: Array) -> Array:
        """mean(y) - E[y], which rises with the rate."""
        found = terms(best_alpha(log_rate), jnp.exp(log_rate))
        log_z = jax.nn.logsumexp(found)
        return excess - (jnp.exp(jax.nn.logsumexp(found + nodes) - log_z) - 1)

    largest = -jnp.log(excess)  # of an exponential law
    least = largest + np.log(_LEAST)
    log_rate = _bisect(lambda x: slope(x) < 0, least, largest)
    alpha, rate = best_alpha(log_rate), jnp.exp(log_rate)
    cut = -alpha * u - rate * jnp.expm1(u) - jax.nn.logsumexp(terms(alpha, rate))
    return jnp.where(slope(least) < 0, cut, -jnp.log(first) - (1 + 1 / first) * u)


def _bisect(below: Callable[[Array], Array], low: ArrayLike, high: ArrayLike) -> Array:
    """Where below(x) turns from true to false."""

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        up = below(middle)
        return jnp.where(up, middle, low), jnp.where(up, high, middle)

    start = (jnp.asarray(low, jnp.float64), jnp.asarray(high, jnp.float64))
    below_it, above_it = lax.fori_loop(0, _STEPS, halve, start)
    return (below_it + above_it) / 2
