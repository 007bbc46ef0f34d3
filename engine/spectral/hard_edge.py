"""The smallest singular value of a square or nearly square Gaussian matrix: the hard edge, on the host.

For a (b + d) x b matrix with unit entries, d fixed and b large, P(b s_min^2 > x) tends to E_d(x):

    d = 0   E_0(x) = exp(-(x/2 + sqrt(x)))                                             (Edelman)
    d >= 0  E_d(x) = det(1 - V) on L^2(0, 1), V(u, v) = (t/2) J_d(t sqrt(u v)), t = 2 sqrt(x)    (Forrester)

the determinant by Gauss-Legendre (Bornemann) after u -> u^2: det(1 - t sqrt(u v) J_d(t u v)), whose kernel without the
root, which only scales rows and columns, is entire.

References: A. Edelman, Eigenvalues and condition numbers of random matrices, 1988; P. J. Forrester, Hard and soft edge
spacing distributions for random matrix ensembles with orthogonal and symplectic symmetry, 2006.
"""

from functools import lru_cache

import numpy as np
from scipy.special import jv

from eigensweep.engine.spectral import fredholm
from eigensweep.engine.spectral.roots import root

_NODES = 64  # enough for every digit up to d = 128


def survival(x: float, d: int) -> float:
    """P(b s_min^2 > x) = E_d(x) for entries of unit variance, x >= 0, d = a - b >= 0."""
    if x < 0 or d < 0:
        raise ValueError(f"x and d must not be negative, got x = {x}, d = {d}")
    return float(np.exp(-(x / 2 + np.sqrt(x)))) if d == 0 else determinant(x, d)


def determinant(x: float, d: int) -> float:
    """E_d(x) as the Fredholm determinant, d = 0 included; absolute error below 1e-12 for d <= 128."""
    t = 2 * np.sqrt(x)
    return fredholm.determinant(lambda u, v: t * np.sqrt(u * v) * jv(d, t * u * v), 0.0, 1.0, _NODES)


@lru_cache(maxsize=1024)
def quantile(p: float, d: int) -> float:
    """The x below which b s_min^2 falls with probability p."""
    if not 0 < p < 1:
        raise ValueError(f"p must lie in (0, 1), got {p}")
    if d == 0:
        # exp(-(x/2 + sqrt(x))) = 1 - p, solved for sqrt(x) without cancellation
        c = -2 * np.log1p(-p)
        return float((c / (1 + np.sqrt(1 + c))) ** 2)
    upper = 4.0 + d  # doubled until it brackets
    while survival(upper, d) > 1 - p:
        upper *= 2
    return root(lambda x: 1 - survival(x, d) - p, 0.0, upper, rtol=1e-12)
