"""Kolmogorov-Smirnov statistic of singular vectors: how far are the entries of a unit vector from Gaussian ones?

An eigenvector of a random matrix is a uniform point on the sphere, whose sorted entries x_1 <= ... <= x_n follow
F(x) = Phi(sqrt(n) x), nearly: D = max_i max(i/n - F(x_i), F(x_i) - (i-1)/n). The unit norm ties the entries, so the
null distribution of D is not Kolmogorov's (see the package `null`).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax import Array
from jax.scipy.special import ndtr
from jax.typing import ArrayLike
from scipy.ndimage import convolve1d

from eigensweep.engine.spectral.cores import num_cores

BLOCK_ELEMENTS = 2**16  # half a megabyte of float64 a thread and step


def ks_statistic(x: ArrayLike) -> Array | np.ndarray:
    """D of every vector on the last axis.

    NumPy in, NumPy out, JAX in, JAX out; jittable and vmappable. Arrays on CPU are worked on by NumPy in threads, as
    XLA's sort is 50 times slower there. Inside jit XLA sorts, on CPU too: a callback to NumPy from there hangs now and
    then when XLA has a single thread.

    Args:
      x: (..., n) unit vectors, entries in any order, float32 or float64; any strides.

    Returns:
      (...,) of 1/(2n) <= D <= 1; NaN for vectors with NaN.
    """
    if isinstance(x, np.ndarray):
        return _on_host(x)
    x = jnp.asarray(x)
    if not isinstance(x, jax.core.Tracer) and all(d.platform == "cpu" for d in x.devices()):
        return jnp.asarray(_on_host(np.asarray(x)))
    return _on_device(x)


@jax.jit
def _on_device(x: Array) -> Array:
    n = x.shape[-1]
    ordered = jnp.sort(x, axis=-1)
    cdf = ndtr(np.sqrt(n).astype(x.dtype) * ordered)
    middle = ((np.arange(n) + 0.5) / n).astype(x.dtype)
    # max(i/n - F, F - (i-1)/n) = |F - (i - 1/2)/n| + 1/(2n)
    d = jnp.max(jnp.abs(cdf - middle), axis=-1) + np.asarray(0.5 / n, x.dtype)
    return jnp.where(jnp.isnan(ordered[..., -1]), jnp.nan, d)  # XLA's maximum may lose a NaN on CPU


def _on_host(x: np.ndarray) -> np.ndarray:
    """D by NumPy's sort and SciPy's ndtr, which both release the GIL, a block of vectors a task."""
    n = x.shape[-1]
    vectors = x.reshape(-1, n) if x.flags.c_contiguous else x
    blocks = list(_blocks(vectors, max(1, BLOCK_ELEMENTS // n)))
    with ThreadPoolExecutor(num_cores()) as pool:
        parts = list(pool.map(_block_statistic, blocks))
    return np.concatenate(parts).reshape(x.shape[:-1]) if parts else np.zeros(x.shape[:-1], x.dtype)


def _blocks(x: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """Views of at most `rows` vectors each; x (..., n) need not be contiguous (columns of u are not)."""
    if x.ndim > 2:
        for part in x:
            yield from _blocks(part, rows)
    else:
        x = np.atleast_2d(x)
        for i in range(0, len(x), rows):
            yield x[i : i + rows]


def _block_statistic(x: np.ndarray) -> np.ndarray:
    n = x.shape[-1]
    gap = np.array(x, order="C")
    gap.sort(axis=-1)
    gap *= np.sqrt(n).astype(gap.dtype)
    scipy.special.ndtr(gap, out=gap)
    gap -= ((np.arange(n) + 0.5) / n).astype(gap.dtype)
    np.abs(gap, out=gap)
    return np.max(gap, axis=-1) + np.asarray(0.5 / n, gap.dtype)


def local_average(p: np.ndarray, half_width: int = 7) -> np.ndarray:
    """Mean over the 2 half_width + 1 neighbouring indices of the last axis, over fewer at the ends.

    NaN entries (vectors that the matrix does not determine) are left out of the means they would fall into; where p
    itself is NaN, so is the average. Under the null its standard deviation is 1 / sqrt(12 (2 half_width + 1)) = 0.075.

    Args:
      p: (..., n) p-values.
    """
    known, window = ~np.isnan(p), np.ones(2 * half_width + 1)
    total = convolve1d(np.where(known, p, 0.0), window, mode="constant")
    count = convolve1d(known.astype(float), window, mode="constant")
    return np.where(known, total / np.maximum(count, 1), np.nan)
