"""Which shape have many numbers? Five symmetric laws fitted by maximum likelihood to bins, compared by AIC; the tail.

The likelihood of a bin is the law's probability of it over its width, so that log-likelihoods are those of densities
and agree with fits to the numbers themselves as far as the bins are fine. Far out, where probabilities underflow, they
are computed as logarithms.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

LEAST = 20  # numbers below which nothing is fitted
TAIL = 0.9  # the tail: beyond this quantile of |x - median|
LEAST_IN_TAIL = 100
_TINY = 1e-290  # a probability below which its logarithm is taken from the law's asymptote
_DF, _BETA = (0.2, 1000.0), (0.1, 20.0)
Survival = Callable[[NDArray, float], NDArray]


class Fit(NamedTuple):
    """A law fitted to numbers.

    Attributes:
      loc, scale: in their unit; of the standard density f: f((x - loc) / scale) / scale.
      shape: degrees of freedom (Student t), exponent beta (generalised normal); NaN for the others.
      aic: (2 k - 2 log likelihood) / n, of k parameters and n numbers: the lower the better.
    """

    loc: float
    scale: float
    shape: float
    aic: float


def _student_t(z: NDArray, df: float) -> NDArray:
    tail = special.stdtr(df, -z)
    constant = special.gammaln((df + 1) / 2) - special.gammaln(df / 2) - 0.5 * np.log(df * np.pi)
    density = constant - (df + 1) / 2 * np.log1p(z * z / df)
    hazard = np.log((df + 1) * np.maximum(z, 1.0) / (df + z * z))
    return np.where(tail > _TINY, np.log(np.maximum(tail, _TINY)), density - hazard)


def _generalised_normal(z: NDArray, beta: float) -> NDArray:
    power = z**beta
    tail = 0.5 * special.gammaincc(1 / beta, power)
    # gammaincc(a, x) ~ x^(a - 1) e^-x / Gamma(a)
    far = np.log(0.5) + (1 / beta - 1) * np.log(np.maximum(power, 1.0)) - power - special.gammaln(1 / beta)
    return np.where(tail > _TINY, np.log(np.maximum(tail, _TINY)), far)


LAWS: dict[str, Survival] = {
    "normal": lambda z, _: special.log_ndtr(-z),
    "logistic": lambda z, _: special.log_expit(-z),
    "laplace": lambda z, _: np.log(0.5) - z,
    "student_t": _student_t,
    "generalised_normal": _generalised_normal,
}
"""Name -> log P(X > z), z >= 0, of the standard law with its shape: symmetric about 0.

Densities: exp(-z^2/2), e^-z / (1 + e^-z)^2, e^-|z|, (1 + z^2/df)^-(df+1)/2, exp(-|z|^beta), each normed.
"""
_SHAPES = {"student_t": (5.0, _DF), "generalised_normal": (1.5, _BETA)}
_SPREAD = {"normal": 1.0, "logistic": np.sqrt(3) / np.pi, "laplace": np.sqrt(0.5), "student_t": 0.77}


def log_probability(law: str, edges: NDArray, shape: float = np.nan) -> NDArray:
    """log of the standard law's probability between consecutive edges, which may lie far out."""
    survival = LAWS[law](np.abs(edges), shape)
    a, b, left, right = edges[:-1], edges[1:], survival[:-1], survival[1:]
    nearer, further = np.maximum(left, right), np.minimum(left, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        one_side = nearer + np.log(-np.expm1(further - nearer))
        both = np.log1p(-np.exp(left) - np.exp(right))
    return np.where((a < 0) & (b > 0), both, one_side)


def log_density(law: str, x: NDArray, fit: Fit) -> NDArray:
    """log of a fitted law's density at x, for figures: the mean over a bin of a thousandth of its scale."""
    z = (np.asarray(x, np.float64) - fit.loc) / fit.scale
    edges = np.stack((np.abs(z) - 5e-4, np.abs(z) + 5e-4), axis=-1)
    values = np.array([log_probability(law, pair, fit.shape)[0] for pair in edges.reshape(-1, 2)]).reshape(z.shape)
    return values - np.log(1e-3 * fit.scale)


def fits(edges: NDArray, counts: NDArray, centre: float, scale: float) -> dict[str, Fit]:
    """Every law of LAWS fitted to binned numbers.

    Args:
      edges, counts: (k + 1,), (k,), ascending; see `log_histogram.joined`.
      centre, scale: where the search begins: the median and a standard deviation that outliers do not inflate.

    Returns:
      Name -> Fit; empty where there are fewer than LEAST numbers, or one bin holds them all.
    """
    total, widths = counts.sum(), np.diff(edges)
    if total < LEAST or np.count_nonzero(counts) < 3 or not scale > 0:
        return {}
    there = np.flatnonzero(counts)
    share, log_width = counts / total, np.log(widths)
    found = {}
    for law in LAWS:
        first, limits = _SHAPES.get(law, (np.nan, (0.0, 0.0)))

        def loss(at: NDArray, law: str = law, limits: tuple[float, float] = limits) -> float:
            width = scale * np.exp(at[1])
            shape = float(np.clip(np.exp(at[2]), *limits)) if len(at) > 2 else np.nan
            logs = log_probability(law, (edges - centre - scale * at[0]) / width, shape) - log_width
            value = -float(share[there] @ logs[there])
            return value if np.isfinite(value) else 1e300

        start = [0.0, np.log(_SPREAD.get(law, 1.0)), *([np.log(first)] if law in _SHAPES else [])]
        best = _least(loss, start)
        shape = float(np.clip(np.exp(best.x[2]), *limits)) if law in _SHAPES else np.nan
        aic = 2 * best.fun + 2 * len(start) / total
        found[law] = Fit(float(centre + scale * best.x[0]), float(scale * np.exp(best.x[1])), shape, float(aic))
    return found


class Tail(NamedTuple):
    """How the tail falls, beyond the quantile TAIL of |x - median|; NaN with fewer than LEAST_IN_TAIL numbers there.

    Attributes:
      shape: beta of exp(-(|x - median| / scale)^beta) fitted there: 1 straight in a log-density plot (exponential),
        2 parabolic (Gaussian), below 1 heavier than exponential.
      straight: AIC a number of the best Gaussian tail less that of the best exponential one: above 0 where the straight
        line describes it better.
    """

    shape: float
    straight: float


def tail(edges: NDArray, counts: NDArray, centre: float) -> Tail:
    """The tail of binned numbers, both sides together; each bin counts with its whole probability.

    Args:
      edges, counts: of `log_histogram.joined`.
      centre: the median.
    """
    low, high = np.sort(np.abs(np.stack((edges[:-1], edges[1:])) - centre), axis=0)
    order = np.argsort(low)
    below = np.cumsum(counts[order])
    if not below.size or below[-1] * (1 - TAIL) < LEAST_IN_TAIL:
        return Tail(np.nan, np.nan)
    threshold = float(high[order][np.searchsorted(below, TAIL * below[-1])])
    inside = (low >= threshold) & (counts > 0)
    total = counts[inside].sum()
    if total < LEAST_IN_TAIL or np.count_nonzero(inside) < 4:
        return Tail(np.nan, np.nan)
    right = ((edges[:-1] + edges[1:]) / 2 > centre)[inside]
    share, low, high = counts[inside] / total, low[inside] / threshold, high[inside] / threshold
    # the first edges beyond the threshold differ between the sides, and each side is conditioned on its own
    start = np.where(right, low[right].min(initial=np.inf), low[~right].min(initial=np.inf))

    def loss(at: NDArray, beta: float | None = None) -> float:
        exponent = float(np.clip(np.exp(at[1]), 0.05, 20.0)) if beta is None else beta
        scale = np.exp((at[0] - np.log(exponent)) / exponent)  # at[0]: log of how fast the logarithm falls at 1
        a, b, t = (_generalised_normal(x * scale, exponent) for x in (low, high, start))
        with np.errstate(divide="ignore", invalid="ignore"):
            value = -float(share @ (a - t + np.log(-np.expm1(b - a))))
        return value if np.isfinite(value) else 1e300

    free = _least(loss, [1.0, 0.0])
    straight, parabolic = (_least(partial(loss, beta=b), [1.0]).fun for b in (1.0, 2.0))
    return Tail(float(np.clip(np.exp(free.x[1]), 0.05, 20.0)), 2 * float(parabolic - straight))


def _least(loss: Callable[[NDArray], float], start: list[float]) -> optimize.OptimizeResult:
    simplex = np.array([start, *(np.asarray(start) + 0.3 * row for row in np.eye(len(start)))])
    options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-7, "maxiter": 400}
    return optimize.minimize(loss, start, method="Nelder-Mead", options=options)
