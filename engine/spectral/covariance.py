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


class Positions(NamedTuple):
    """Sums over the examples seen so far, position by position; float64. Those of disjoint data add.

    Attributes:
      first: (T, d), sum of x at each position.
      tokens: (T,), their number there.
    """

    first: Array
    tokens: Array

    @property
    def scaled(self) -> Array:
        """(T, d) rows sqrt(n_p / N) m_p: S^T S = sum_p n_p m_p m_p^T / N, the part of F in the positions' means m_p."""
        return self.first / jnp.sqrt(jnp.maximum(self.tokens, 1.0) * self.tokens.sum())[:, None]


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


def zero_positions(length: int, d: int) -> Positions:
    """Sums of no data, for rows of `length` tokens."""
    return Positions(jnp.zeros((length, d), jnp.float64), jnp.zeros(length, jnp.float64))


@partial(jax.jit, donate_argnums=0)
def accumulate_positions(positions: Positions, x: Array, mask: Array) -> Positions:
    """Sums with a batch added; `positions` itself is used up.

    Args:
      positions: so far.
      x: (B, T, d) activations, any floating dtype.
      mask: (B, T) true for tokens.
    """
    chex.assert_shape(positions.first, x.shape[1:])
    rows = jnp.where(mask[..., None], x.astype(jnp.float64), 0.0)
    return Positions(positions.first + rows.sum(axis=0), positions.tokens + jnp.sum(mask, axis=0))


def covariance(moments: Moments, centred: bool = False, positions: Positions | None = None) -> Array:
    """F = mean x x^T, (d, d) float64; NaN without data.

    Args:
      moments: of all tokens.
      centred: mean (x - m)(x - m)^T, with m the mean of all tokens.
      positions: of the same tokens: mean (x - m_p)(x - m_p)^T, with m_p the mean over the examples of the position p
        at which x stands: F - sum_p n_p m_p m_p^T / N. Of noise it is short of the covariance by the factor
        1 - T/N; a position with one token alone gives nothing.
    """
    f = moments.second / moments.tokens
    if positions is not None:
        f = f - jnp.matmul(positions.scaled.T, positions.scaled, precision="highest")
    elif centred:
        mean = moments.first / moments.tokens
        f = f - mean[:, None] * mean
    return (f + f.T) / 2


def shares_of_means(
    axes: Axes, moments: Moments, positions: Positions | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """How much of each eigenvalue the means carry.

    Args:
      axes: of F.
      moments, positions: of the tokens that F is of.

    Returns:
      ((r,), (r,)) float64: (m . f_j)^2 / evals_j, the share of the mean m of all tokens in an eigenvalue of mean x x^T,
      and sum_p n_p ((m_p - m) . f_j)^2 / (N evals_j), that of the positions' means about it, None without positions.
      The rest varies between tokens of one position. Of noise the second is about T/N.
    """
    evals = axes.evals[: len(axes.vectors)]
    of_mean = (axes.vectors @ np.asarray(moments.first / moments.tokens)) ** 2
    if positions is None:
        return of_mean / evals, None
    of_positions = np.sum((axes.vectors @ np.asarray(positions.scaled).T) ** 2, axis=1) - of_mean
    return of_mean / evals, np.maximum(of_positions, 0.0) / evals


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
