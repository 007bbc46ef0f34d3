"""Kolmogorov-Smirnov statistic of singular vectors: how far are the entries of a unit vector from Gaussian ones?

An eigenvector of a random matrix is a uniform point on the sphere, whose sorted entries x_1 <= ... <= x_n follow
F(x) = Phi(sqrt(n) x), nearly: D = max_i max(i/n - F(x_i), F(x_i) - (i-1)/n). The unit norm ties the entries, so the
null distribution of D is not Kolmogorov's (see null.py).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import ndtr
from jax.typing import ArrayLike


def ks_statistic(x: ArrayLike) -> Array:
    """D of every vector on the last axis: x (..., n) unit vectors in any order -> (...,); jittable, vmappable.

    Sorted by NumPy on CPU (XLA's sort is 50 times slower there), by XLA elsewhere. NaN in, NaN out; 0 < D <= 1.
    """
    x = jnp.asarray(x)
    n = x.shape[-1]
    cdf = ndtr(np.sqrt(n).astype(x.dtype) * sort(x))
    below = (np.arange(n) / n).astype(x.dtype)
    gap = jnp.maximum(cdf - below, below + np.asarray(1 / n, x.dtype) - cdf)
    return jnp.max(gap, axis=-1)


def sort(x: Array) -> Array:
    """Ascending along the last axis; the host does it where the computation is lowered for CPU."""
    return lax.platform_dependent(x, cpu=_sort_on_host, default=partial(jnp.sort, axis=-1))


def _sort_on_host(x: Array) -> Array:
    return jax.pure_callback(
        lambda v: np.sort(np.asarray(v), axis=-1),
        jax.ShapeDtypeStruct(x.shape, x.dtype),
        x,
        vmap_method="broadcast_all",
    )


def local_average(p: ArrayLike, half_width: int = 7) -> Array:
    """Mean over the 2 half_width + 1 neighbouring indices of the last axis, over fewer at the ends.

    NaN entries (vectors that the matrix does not determine) are left out of the means they fall into; where p itself
    is NaN, so is the average.

    Args:
      p: (..., n).
    """
    p = jnp.asarray(p)
    known = ~jnp.isnan(p)
    total, count = (
        _window_sum(jnp.where(known, p, 0), half_width),
        _window_sum(known.astype(p.dtype), half_width),
    )
    return jnp.where(known, total / jnp.where(count > 0, count, 1), jnp.nan)


def _window_sum(x: Array, half_width: int) -> Array:
    pad = [(0, 0)] * (x.ndim - 1) + [(half_width, half_width)]
    padded = jnp.pad(x, pad)
    n = x.shape[-1]
    return sum(padded[..., k : k + n] for k in range(2 * half_width + 1))
