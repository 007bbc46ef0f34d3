"""Where an extreme singular value of noise falls beside the same extreme of K other draws of that noise.

Random signs on a matrix of independent symmetric entries give draws of the same law (Hong, Sheng and Dobriban), so the
matrix's own extreme x and those of its K flips are K + 1 exchangeable numbers. K is small, so no p-value comes from
ranks alone (the least would be 1/(K + 1)). What is known besides is the shape of the law, whatever the entries'
scales and tails: far out (x = log s_1, or -log s_b) it is

soft edge    mean + sd X, X gamma-distributed with skewness 0.4. Tracy-Widom's F1 is close to a gamma law with skewness
             0.29 (Chiani); where few columns of large scale make the top, it has the shape of their maximum and is
             more skewed: the shape of F1 fires at 0.018 there for level 0.01. Mean and sd are estimated from the flips:
             z = (x - mean_K)/(sd_K sqrt(1 + 1/K)), whose law for K + 1 independent draws of that shape is simulated.
hard edge    the smallest value of a square or nearly square matrix: mean + X, X in the shape of -log of Edelman's or
             Forrester's law (`hard_edge`). For d = a - b = 0 its spread is universal, only the noise's size is not:
             z = (x - mean_K)/(sd(X) sqrt(1 + 1/K)), simulated alike. For d > 0 the spread is estimated as above.

So the test keeps its level at every K; what few flips cost is power, for the spread of their mean and sd.

References: D. Hong, Y. Sheng, E. Dobriban, Selecting the number of components in PCA via random signflips,
arXiv 2012.02985; M. Chiani, Distribution of the largest eigenvalue for real Wishart and Gaussian random matrices and a
simple approximation for the Tracy-Widom distribution, 2014; edges.py for the laws of the edges.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from eigensweep.engine.spectral import edges, hard_edge

SOFT = -1
"""The law of a soft edge; d >= 0 is that of a hard edge with a - b = d."""
LEAST_FLIPS = 3  # with two, the sd of one degree of freedom puts the critical value at 50 sd
_REPLICAS = 200_000
_SEED = 2012
_GAMMA = 25.0  # the gamma law's parameter, 4/skewness^2; F1 has 46.4
_NODES = 64  # of the table of Forrester's law


def left_law(a: int, b: int) -> int:
    """The law of the smallest singular value of an a x b matrix: d where the edge is hard, else `SOFT`."""
    return a - b if edges.is_hard(a, b) else SOFT


def z_value(x: float, flips: NDArray, law: int, floor: float = 0.0) -> float:
    """How many sd x lies beyond the flips' mean, as the module has it.

    Args:
      x: outward: log s of the largest value, -log s of the smallest.
      flips: (K,), the same of the flips.
      law: `SOFT`, or d.
      floor: the least sd to believe: below it, differences between flips are rounding.
    """
    return float(x - np.mean(flips)) / (_sd(flips, law, floor) * (1 + 1 / len(flips)) ** 0.5)


def threshold(flips: NDArray, law: int, level: float, floor: float = 0.0) -> float:
    """The x that noise exceeds with probability `level`."""
    null = _null(law, len(flips))
    critical = float(null[min(int((1 - level) * null.size), null.size - 1)])
    return float(np.mean(flips)) + critical * _sd(flips, law, floor) * (1 + 1 / len(flips)) ** 0.5


def p_value(z: float, law: int, num_flips: int) -> float:
    """The probability that noise lies z or more beyond its flips; at least 1/200,001, the simulation's resolution."""
    null = _null(law, num_flips)
    return float((1 + null.size - np.searchsorted(null, z)) / (1 + null.size))


def _sd(flips: NDArray, law: int, floor: float) -> float:
    return _spread(law) if law == 0 else max(float(np.std(flips, ddof=1)), floor)


@lru_cache(maxsize=64)
def _null(law: int, num_flips: int) -> NDArray[np.float64]:
    """(_REPLICAS,) ascending: the z of one draw of the law against `num_flips` others."""
    rng = np.random.default_rng([_SEED, num_flips, law - SOFT])
    draws = _draws(law, rng, (num_flips + 1, _REPLICAS))
    x, flips = draws[0], draws[1:]
    sd = _spread(law) if law == 0 else np.std(flips, axis=0, ddof=1)
    return np.sort((x - np.mean(flips, axis=0)) / (sd * np.sqrt(1 + 1 / num_flips)))


@lru_cache(maxsize=64)
def _spread(law: int) -> float:
    return float(np.std(_draws(law, np.random.default_rng(_SEED), (_REPLICAS,))))


def _draws(law: int, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draws of the law's shape, outward; location and scale of a soft edge's are of no account."""
    if law == SOFT:
        return rng.standard_gamma(_GAMMA, shape)
    if law == 0:
        # survival exp(-(x/2 + sqrt(x))) solved for sqrt(x), which is s_min up to its scale
        return -np.log(np.sqrt(1 + 2 * rng.standard_exponential(shape)) - 1)
    odds, log_s = _hard_table(law)
    return -np.interp(rng.logistic(size=shape), odds, log_s)


@lru_cache(maxsize=64)
def _hard_table(d: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log(p/(1 - p)) and log(x)/2 for x with P(b s_min^2 < x) = p of Forrester's law."""
    log_x = np.linspace(np.log(hard_edge.quantile(1e-7, d)), np.log(hard_edge.quantile(1 - 1e-7, d)), _NODES)
    p = np.array([1 - hard_edge.survival(x, d) for x in np.exp(log_x)])
    return np.log(p / (1 - p)), log_x / 2
