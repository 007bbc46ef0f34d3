"""Second moments of activations, F = mean over tokens of x x^T, accumulated batch by batch, and their eigenvectors.

Products and sums are float64: the spectrum of F falls over many orders of magnitude, and float32 products, off by
1e-7 of the largest eigenvalue, would leave the eigenvectors of the small ones to rounding. It costs four times as much
on a CPU, and nothing on an accelerator whose float64 units are as fast as its float32 ones.
"""

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jax.typing import ArrayLike


class Moments(NamedTuple):
    """Sums over the tokens seen so far; float64. Moments of disjoint data add.

    Attributes:
      second: (d, d), sum of x x^T.
      first: (d,), sum of x.
      tokens: (), their number.
    """

    second: Array
    first: Array
    tokens: Array


class Axes(NamedTuple):
    """Eigenvectors of a covariance F (d, d), by descending eigenvalue; only those that the data determine.

    Attributes:
      evals: (d,) float64, all eigenvalues.
      vectors: (r, d) float64, unit eigenvectors as rows. The eigenvalues beyond r are rounding, at most
        d eps evals[0]: there any basis of the remaining subspace would do as well.
    """

    evals: np.ndarray
    vectors: np.ndarray


def zero(d: int) -> Moments:
    """Moments of no data, for activations of d entries."""
    return Moments(*(jnp.zeros(shape, jnp.float64) for shape in ((d, d), (d,), ())))


@partial(jax.jit, donate_argnums=0)
def accumulate(moments: Moments, x: Array, mask: Array | None = None) -> Moments:
    """Moments with a batch added; `moments` itself is used up.

    Args:
      moments: so far.
      x: (..., d) activations, any floating dtype.
      mask: (...) true for tokens; what is padding may hold anything, NaN included. None: all are tokens.
    """
    chex.assert_shape(moments.second, (x.shape[-1], x.shape[-1]))
    if mask is not None:
        chex.assert_equal_shape_prefix([x, mask], x.ndim - 1)
    rows = x.reshape(-1, x.shape[-1]).astype(jnp.float64)
    count = rows.shape[0] if mask is None else jnp.sum(mask)
    if mask is not None:
        rows = jnp.where(mask.reshape(-1, 1), rows, 0.0)
    return Moments(
        moments.second + jnp.matmul(rows.T, rows, precision="highest"),
        moments.first + jnp.sum(rows, axis=0),
        moments.tokens + count,
    )


def covariance(moments: Moments, centred: bool = False) -> Array:
    """F = mean x x^T, (d, d) float64; centred: mean (x - mean x)(x - mean x)^T. NaN without data."""
    f = moments.second / moments.tokens
    if centred:
        mean = moments.first / moments.tokens
        f = f - mean[:, None] * mean
    return (f + f.T) / 2


def eigenvectors(f: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """All eigenvalues (d,) of a covariance, descending, and unit eigenvectors (d, d) as rows; float64.

    Args:
      f: (d, d), symmetric; the host decomposes it where JAX runs on CPU, else the device.

    Raises:
      ValueError: entries that are not finite.
    """
    if not bool(jnp.isfinite(jnp.asarray(f)).all()):
        raise ValueError("the covariance has entries that are not finite: no data, or activations that overflow")
    if jax.default_backend() == "cpu":
        evals, vectors = scipy.linalg.eigh(np.asarray(f, np.float64), driver="evd")
    else:
        evals, vectors = jax.device_get(jnp.linalg.eigh(jnp.asarray(f)))
    return np.ascontiguousarray(evals[::-1]), np.ascontiguousarray(vectors[:, ::-1].T)


def principal_axes(f: ArrayLike) -> Axes:
    """Eigenvalues of a covariance, and the eigenvectors that the data determine.

    Raises:
      ValueError: entries that are not finite.
    """
    evals, vectors = eigenvectors(f)
    determined = evals > len(evals) * np.finfo(np.float64).eps * max(evals[0], 0.0)
    return Axes(evals, vectors[determined])
