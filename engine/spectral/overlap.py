"""Overlap of a weight matrix's right singular vectors with the principal axes of the activations that enter it.

O_k = max_j |v_k . f_j| over the eigenvectors f_j of F. If W were turned by a random rotation of its input space, the
numbers v_k . f_j of each k would be entries of a random unit vector: the null is the law of the largest of them.

References: M. Staats, M. Thamm, B. Rosenow, Small singular values matter, arXiv:2410.17770 (the overlap). The null's
law is derived in `null_tail`.
"""

from functools import lru_cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax import Array
from numpy.typing import ArrayLike

from eigensweep.engine.spectral import roots

_ALIASING = 40.0  # nats below the integral: the error of the trapezoid rule, 4e-18
_TRUNCATION = 28.0  # nats below the peak of the integrand at which it is cut off, 7e-13
_MAX_POINTS = 4000  # of the quadrature; only n < 10 would take more
_GRID = 1024  # of the tabled null


@partial(jax.jit, static_argnames="chunk")
def overlaps(vt: Array, axes: Array, chunk: int = 512) -> tuple[Array, Array]:
    """The largest overlap of every singular vector with any axis.

    Args:
      vt: (b, n) unit vectors as rows, float64.
      axes: (r, n) orthonormal rows, see `covariance.Axes.vectors`.
      chunk: vectors a product; bounds the memory to chunk x r.

    Returns:
      O (b,) float64 in [0, 1]; partner (b,) int32, the j that attains it (0: the axis of the largest eigenvalue).
    """
    chex.assert_shape([vt, axes], (None, vt.shape[-1]))

    def one(v: Array) -> tuple[Array, Array]:
        cosine = jnp.abs(jnp.matmul(axes, v, precision="highest"))
        best = jnp.argmax(cosine).astype(jnp.int32)
        return jnp.minimum(cosine[best], 1.0), best

    return jax.lax.map(one, vt, batch_size=min(chunk, len(vt)))


def null_tail(t: ArrayLike, n: int, r: int | None = None) -> np.ndarray:
    """P(max of the first r absolute entries of a random unit vector in R^n > t): the p-value of an overlap t.

    Integrated over the radius, the cube |x_j| <= t, j <= r, has the Laplace transform (erf(t sqrt L) sqrt(pi/L))^r
    times sqrt(pi/L)^(n - r) in the squared radius; undone at radius 1 and divided by the sphere's own,

        P = Gamma(n/2) / (2 pi i) * integral of exp(L) L^(-n/2) (1 - erf(t sqrt L)^r) dL

    along Re L = (n/2)/(1 - t^2), the saddle of the tail, where the trapezoid rule converges geometrically and nothing
    cancels: the relative error is below 1e-8 for n >= 6, far into the tail too (3e-6 for n = 3, 2e-4 for n = 2).
    Beyond t^2 = 1/2 no two entries exceed t, and the formula is r times the tail of a beta law, as it must be.

    Args:
      t: any shape.
      n: dimension, at least 2.
      r: how many entries the maximum runs over; default all n.

    Returns:
      float64 in [0, 1], the shape of t; NaN where t is.

    Raises:
      ValueError: n < 2, or r not in 1 .. n.
    """
    r = n if r is None else r
    if n < 2 or not 1 <= r <= n:
        raise ValueError(f"a maximum over r = {r} entries of a unit vector in R^{n}: expected n >= 2, 1 <= r <= n")
    t = np.asarray(t, np.float64)
    inside = (t > 0) & (t < 1)
    if r == n:
        inside &= t * t * n > 1  # some entry is always at least 1/sqrt(n)
    result = np.where(np.isnan(t), np.nan, np.where(t >= 1, 0.0, 1.0))
    result[inside] = _contour(t[inside], n, r)
    return result


def _contour(t: np.ndarray, n: int, r: int) -> np.ndarray:
    """The integral of `null_tail` for t (k,) in (0, 1)."""
    half = n / 2
    period = roots.root(lambda w: half * (w - np.log1p(w)) - _ALIASING, 1e-6, 1e3)
    step = 2 * np.pi / (period * half)
    length = np.sqrt(np.expm1(min(4 * _TRUNCATION / (n + 1), 500.0)))
    z = step * np.arange(min(int(length / step) + 2, _MAX_POINTS))
    weight = np.where(z > 0, 2.0, 1.0)  # conjugate pairs
    result = np.empty(len(t))
    rows = max(1, 2**20 // len(z))
    for start in range(0, len(t), rows):
        square = t[start : start + rows, None] ** 2
        center = half / (1 - square)
        point = center * (1 + 1j * z)
        root = np.sqrt(square * point)
        faddeeva = scipy.special.wofz(1j * root)  # erfc(x) = exp(-x^2) w(ix)
        damping = np.exp(-square * point)
        erfc = damping * faddeeva
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            full = -np.expm1(r * np.log1p(-erfc)) / damping
        outside = np.where(r * np.abs(erfc) < 1e-9, r * faddeeva, full)
        exponent = (1 - square) * point - half * np.log(point) + scipy.special.gammaln(half)
        total = np.sum(weight * np.real(np.exp(exponent) * outside), axis=1)
        result[start : start + rows] = total * center[:, 0] * step / (2 * np.pi)
    return np.clip(result, 0.0, 1.0)


@lru_cache(maxsize=64)
def null_table(n: int, r: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(t, P(O > t)) on a fine grid that ends where the tail is below 1e-15."""
    r = n if r is None else r
    high = min(1.0, np.sqrt(2 * (np.log(r) + 36.0) / n))
    t = np.linspace(0.0, high, _GRID)
    return t, null_tail(t, n, r)


def null_mean(n: int, r: int | None = None) -> float:
    """Mean of O under the null: the integral of the tail."""
    t, tail = null_table(n, r)
    return float(np.trapezoid(tail, t))


def null_quantile(level: ArrayLike, n: int, r: int | None = None) -> np.ndarray:
    """The overlap that a random direction stays below with probability `level`."""
    t, tail = null_table(n, r)
    return np.interp(np.asarray(level, np.float64), 1 - tail, t)
