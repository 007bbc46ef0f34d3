"""The Tracy-Widom law F1 of the largest eigenvalue of a real (beta = 1) random matrix, on the host.

F1(x) = det(1 - K) on L^2(x, inf) with K(u, v) = Ai((u + v)/2)/2 (Ferrari and Spohn), the determinant taken over the
nodes of a Gauss-Legendre rule (Bornemann): it converges exponentially, to an absolute error of 1e-14 here.

References: P. Ferrari, H. Spohn, A determinantal formula for the GOE Tracy-Widom distribution, 2005;
F. Bornemann, On the numerical evaluation of distributions in random matrix theory, 2010.
"""

from functools import lru_cache

import numpy as np
from numpy.polynomial.chebyshev import Chebyshev
from numpy.typing import ArrayLike, NDArray
from scipy.special import airy

from eigensweep.engine.spectral import fredholm
from eigensweep.engine.spectral.roots import root

_NODES = 48
_INTERPOLATED, _DEGREE = (-8.0, 9.0), 40  # F1(-8) is 2e-12
_DECAY = 16.0  # Ai(16/2 + x/2)^2 is below 1e-16 of its scale from here on


def cdf(x: ArrayLike) -> NDArray[np.float64]:
    """F1(x); any shape, float64. Absolute error below 1e-13, for |x| up to 40."""
    return np.vectorize(_cdf, otypes=[np.float64])(x)


def survival(x: ArrayLike) -> NDArray[np.float64]:
    """1 - F1(x) where it exceeds 1e-9, to a relative error of 1e-5; 0 beyond x = 9, where it is below; NaN for NaN.

    Interpolated, once made, in a microsecond: a determinant takes milliseconds.
    """
    x = np.asarray(x, np.float64)
    low, high = _INTERPOLATED
    with np.errstate(invalid="ignore"):
        inside = np.exp(np.minimum(_log_survival()(np.clip(x, low, high)), 0.0))
    return np.where(x < low, 1.0, np.where(x > high, 0.0, inside))


@lru_cache(maxsize=1)
def _log_survival() -> Chebyshev:
    return Chebyshev.interpolate(lambda x: np.log(1 - cdf(x)), _DEGREE, domain=_INTERPOLATED)


@lru_cache(maxsize=1024)
def quantile(p: float) -> float:
    """The x with F1(x) = p, for p in [1e-12, 1 - 1e-12] (outside the determinant has no digits left)."""
    if not 1e-12 <= p <= 1 - 1e-12:
        raise ValueError(f"p must lie in [1e-12, 1 - 1e-12], got {p}")
    return root(lambda x: _cdf(x) - p, -10.0, 16.0)


def _cdf(x: float) -> float:
    if x > 40:
        return 1.0  # 1 - F1 is below 1e-70
    if x < -40:
        return 0.0  # F1 is about exp(-|x|^3/24)
    length = _DECAY + max(0.0, -2 * x)
    return fredholm.determinant(lambda u, v: airy((u + v) / 2)[0] / 2, x, length, _NODES)
