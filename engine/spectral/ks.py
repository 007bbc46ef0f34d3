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

from eigensweep.engine.spectral.cores import num_cores

HALF_WIDTH = 7  # of a local average: 15 neighbouring indices
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


def local_average(p: np.ndarray, half_width: int = HALF_WIDTH) -> np.ndarray:
    """Mean over the 2 half_width + 1 neighbouring indices of the last axis, over fewer at the ends.

    NaN entries (vectors that the matrix does not determine) are left out of the means they would fall into; where p
    itself is NaN, so is the average. `local_average_sd` says how far it strays under the null.

    Args:
      p: (..., n) p-values.
    """
    known = ~np.isnan(p)
    return np.where(known, _windowed(np.where(known, p, 0.0), half_width) / _counted(known, half_width), np.nan)


def local_average_sd(p: np.ndarray, length: int, half_width: int = HALF_WIDTH) -> np.ndarray:
    """The standard deviation of `local_average` under the null, wider where the window is short.

    Args:
      p: (..., n) p-values, or their averages: NaN where there is none.
      length: of the vectors.

    Returns:
      `mean_sd` of as many p-values as the window at each index holds, shaped as p; NaN where p is.
    """
    known = ~np.isnan(p)
    return np.where(known, mean_sd(_counted(known, half_width), length), np.nan)


def sd_over_matrices(sd: np.ndarray) -> np.ndarray:
    """The standard deviation of a mean over independent matrices, sqrt(sum sd^2)/N: sqrt(N) narrower than one's.

    Args:
      sd: (N, n) of each matrix at each index; NaN where it has no value, which the mean there leaves out.

    Returns:
      (n,); NaN where no matrix has one.
    """
    known = ~np.isnan(sd)
    count = known.sum(axis=0)
    total = np.sqrt(np.sum(np.where(known, sd, 0.0) ** 2, axis=0))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_sd(count: ArrayLike, length: int) -> np.ndarray:
    """The standard deviation of the mean p-value of `count` singular vectors of a Gaussian matrix.

        sqrt((1 + (count - 1) rho) / (12 count)),    rho = -min(1, 0.40 + 4/L^2)/(L - 1),    L = length

    Those vectors are columns of a random rotation of L dimensions. They are exchangeable, so any two p-values,
    neighbours or not, have one correlation rho < 0: what is orthogonal to a vector with a large D has a smaller
    one. rho is fitted to 12 L var(mean p) = 1 + (L - 1) rho of all L columns, simulated at L = 2 to 256: a square
    matrix has 0.78 times the deviation 1/sqrt(12 L) of independent p-values.

    Args:
      count: number of p-values, any shape, 1 <= count <= length; 0 gives NaN.
      length: of the vectors, at least 2.

    Returns:
      Shaped as `count`.
    """
    count = np.asarray(count, np.float64)
    rho = -min(1.0, 0.40 + 4 / length**2) / max(1, length - 1)
    variance = np.maximum(1 + (count - 1) * rho, 0.0) / (12 * np.maximum(count, 1))
    return np.where(count > 0, np.sqrt(variance), np.nan)


def _counted(known: np.ndarray, half_width: int) -> np.ndarray:
    """How many p-values each index's window holds, at least 1."""
    return np.maximum(_windowed(known.astype(float), half_width), 1.0)


def _windowed(x: np.ndarray, half_width: int) -> np.ndarray:
    """(..., b) sums over the window of each index, nothing beyond the ends."""
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(half_width, half_width)])
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * half_width + 1, axis=-1).sum(axis=-1)
