"""Ridgeless least squares with random data: what noise leaves in the fitted matrix, and by which law.

y = W* x + noise e, x ~ N(0, Sigma) in d, e ~ N(0, 1) in m dimensions, N > d + 1 samples as columns of X (d, N) and
Y (m, N). Then

    W_hat = Y X^T (X X^T)^-1 = W* + noise E X^T (X X^T)^-1,

and given X the rows of the second term are independent N(0, noise^2 (X X^T)^-1): of mean variance
noise^2/((N - d - 1) lambda_j) along the j-th eigenvector of Sigma. Where the data vary most the noise is least.

W* = signal A B^T, A (m, r) of unit Gaussian entries, B (d, r) orthonormal and random: zero, or of rank r <= d. Given X
and B the rows of W_hat are therefore independent with the covariance

    C = signal^2 B B^T + noise^2 (X X^T)^-1,

so its singular values follow the generalised Marchenko-Pastur law whose population is the spectrum of C. Where r is 0
or d that is signal^2 + noise^2/(N l), l the eigenvalues of X X^T/N, which follow the generalised law of Sigma with the
ratio d/N: the law of the one is the population of the other. (1/(N lambda) in the place of 1/(N l) is right only where
N is many times d.)

Sigma is diagonal here: the coordinates are those along its eigenvectors. That is no restriction, as the laws of noise
and of W* are the same in all of them.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jax.typing import ArrayLike

from eigensweep.engine.spectral.generalised_law import GeneralisedLaw

CHUNK = 64  # samples drawn at a time
_NODES = 2000  # of a population; where there are too few, each makes a bump of its own in the law


class Shape(NamedTuple):
    """d inputs, m outputs, and how many directions W* reads (0: W* = 0)."""

    inputs: int
    outputs: int
    rank: int


@partial(jax.jit, static_argnames="shape")
def fit(
    keys: Array, evals: ArrayLike, noise: ArrayLike, signal: ArrayLike, samples: ArrayLike, shape: Shape
) -> tuple[Array, Array, Array]:
    """Simulate data and fit them, a simulation a key.

    A simulation depends on its own key alone, and one with more samples begins with those of one with fewer.

    Args:
      keys: (B,) PRNG keys.
      evals: (d,) eigenvalues of Sigma.
      noise: standard deviation of the noise in y.
      signal: of W*.
      samples: N > d + 1; may be traced.

    Returns:
      W_hat (B, m, d), W* (B, m, d) and the covariance C of the rows of W_hat (B, d, d), float64.
    """
    d, m, rank = shape
    root = jnp.sqrt(jnp.asarray(evals, jnp.float64))
    samples = jnp.asarray(samples)

    def one(key: Array) -> tuple[Array, Array, Array]:
        of_data, of_a, of_b = jax.random.split(key, 3)
        a = jax.random.normal(of_a, (m, rank), jnp.float64)
        b = jnp.linalg.qr(jax.random.normal(of_b, (d, rank), jnp.float64))[0] if rank else jnp.zeros((d, 0))
        true = signal * a @ b.T

        def more(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            drawn = jax.random.normal(jax.random.fold_in(of_data, i), (CHUNK, d + m), jnp.float64)
            there = (i * CHUNK + jnp.arange(CHUNK) < samples)[:, None]
            x = jnp.where(there, root * drawn[:, :d], 0.0)
            y = x @ true.T + noise * drawn[:, d:]
            return sums[0] + x.T @ x, sums[1] + x.T @ y

        gram, cross = jax.lax.fori_loop(0, -(-samples // CHUNK), more, (jnp.zeros((d, d)), jnp.zeros((d, m))))
        factor = jax.scipy.linalg.cho_factor(gram)
        spread = signal**2 * b @ b.T + noise**2 * jax.scipy.linalg.cho_solve(factor, jnp.eye(d))
        return jax.scipy.linalg.cho_solve(factor, cross).T, true, spread

    return jax.vmap(one)(keys)


def noise_variance(evals: ArrayLike, noise: float, samples: int) -> np.ndarray:
    """(d,) mean square of an entry of W_hat - W* along each eigenvector: noise^2/((N - d - 1) lambda_j).

    Raises:
      ValueError: N < d + 2, where the mean is not finite.
    """
    evals = np.asarray(evals, np.float64)
    if samples < evals.size + 2:
        raise ValueError(f"N = {samples} samples in {evals.size} dimensions; expected at least {evals.size + 2}")
    return noise**2 / ((samples - evals.size - 1) * evals)


def law(evals: ArrayLike, noise: float, signal: float, samples: int, outputs: int) -> GeneralisedLaw:
    """The law of the eigenvalues of W_hat^T W_hat/m where W* is 0 or reads all directions.

    Args:
      evals: (d,) eigenvalues of Sigma.
      noise, signal, samples, outputs: as for `fit`.
    """
    evals = np.asarray(evals, np.float64)
    points, weights = GeneralisedLaw(evals, evals.size / samples, cells=_NODES).nodes()
    return GeneralisedLaw(signal**2 + noise**2 / (samples * points), evals.size / outputs, weights)


def law_of(evals: ArrayLike, outputs: int) -> GeneralisedLaw:
    """The same from simulated spectra (B, d) of the covariance C of the rows of W_hat, all of them together."""
    evals = np.asarray(evals, np.float64)
    points = np.sort(evals.ravel())
    ends = np.linspace(0, points.size, min(_NODES, points.size) + 1).astype(int)
    means = np.add.reduceat(points, ends[:-1]) / np.diff(ends)
    return GeneralisedLaw(means, evals.shape[-1] / outputs, np.diff(ends))


def inverse_law(evals: ArrayLike, noise: float, signal: float, samples: int, outputs: int) -> GeneralisedLaw:
    """What the law would be if X X^T were N Sigma: its population is signal^2 + noise^2/(N lambda)."""
    evals = np.asarray(evals, np.float64)
    return GeneralisedLaw(signal**2 + noise**2 / (samples * evals), evals.size / outputs)


def isotropic_ratios(
    seed: Sequence[int], num: int, variance: float, noise: float, signal: float, samples: int, shape: Shape
) -> np.ndarray:
    """(num,) smallest over median singular value of W_hat where the data vary alike in all directions.

    The same law as `fit` has with Sigma = variance, from Bartlett's factors: X X^T = variance L L^T, L lower triangular
    with chi_N, chi_(N-1), ... on its diagonal and Gaussian entries below. The first of more are the same.
    """
    d, m, rank = shape
    below = np.tril(np.ones((d, d)), -1)
    result = np.empty(num)
    for i in range(num):
        rng = np.random.default_rng([*seed, i])
        factor = below * rng.standard_normal((d, d))
        np.fill_diagonal(factor, np.sqrt(rng.chisquare(samples - np.arange(d))))
        half = scipy.linalg.solve_triangular(factor, np.eye(d), lower=True) * noise / np.sqrt(variance)
        spread = half.T @ half
        if rank:
            b = np.linalg.qr(rng.standard_normal((d, rank)))[0]
            half = scipy.linalg.cholesky(spread + signal**2 * b @ b.T)
        w = rng.standard_normal((m, d)) @ half
        s = np.linalg.svd(w, compute_uv=False)
        result[i] = s[-1] / np.median(s)
    return result
