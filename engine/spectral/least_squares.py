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


class Model(NamedTuple):
    """Where the data come from.

    Attributes:
      evals: (d,) eigenvalues of Sigma, positive.
      outputs: m.
      noise: standard deviation of the noise in y, positive.
      signal: standard deviation of the entries of W* where rank is d.
      rank: r, how many directions W* reads.
    """

    evals: np.ndarray
    outputs: int
    noise: float = 1.0
    signal: float = 0.0
    rank: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether the population of C follows from Sigma alone."""
        return not self.signal or self.rank in (0, self.evals.size)

    @property
    def added(self) -> float:
        """What W* adds to the population, where it reads all directions or none."""
        return self.signal**2 if self.rank else 0.0


def fit(keys: Array, model: Model, samples: int) -> tuple[Array, Array, Array]:
    """Simulate data and fit them, a simulation a key.

    A simulation depends on its own key alone, and one with more samples begins with those of one with fewer.

    Args:
      keys: (B,) PRNG keys.
      samples: N > d + 1.

    Returns:
      W_hat (B, m, d), W* (B, m, d) and the covariance C of the rows of W_hat (B, d, d), float64.
    """
    return _fit(keys, jnp.asarray(model.evals), model.noise, model.signal, model.rank, samples, model.outputs)


@partial(jax.jit, static_argnames="m")
def _fit(
    keys: Array, evals: Array, noise: ArrayLike, signal: ArrayLike, rank: ArrayLike, samples: Array, m: int
) -> tuple[Array, Array, Array]:
    root, d = jnp.sqrt(evals), evals.size
    own = -(-d // CHUNK)  # chunks for A and B, in front: so there is one place that draws, and one to compile

    def one(key: Array) -> tuple[Array, Array, Array]:
        def more(i: Array, sums: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            drawn = jax.random.normal(jax.random.fold_in(key, i), (CHUNK, d + m), jnp.float64)
            place = (i - own) * CHUNK + jnp.arange(CHUNK)
            x = jnp.where(((place >= 0) & (place < samples))[:, None], root * drawn[:, :d], 0.0)
            kept = jax.lax.dynamic_update_slice(sums[2], drawn, (jnp.minimum(i, own) * CHUNK, 0))
            return sums[0] + x.T @ x, sums[1] + x.T @ drawn[:, d:], kept

        zero = jnp.zeros((d, d)), jnp.zeros((d, m)), jnp.zeros(((own + 1) * CHUNK, d + m))
        gram, cross, drawn = jax.lax.fori_loop(0, own - (-samples // CHUNK), more, zero)
        b = jnp.where(jnp.arange(d) < rank, jnp.linalg.qr(drawn[:d, :d])[0], 0.0)
        true: Array = signal * drawn[:d, d:].T @ b.T
        right = jnp.concatenate([gram @ true.T + noise * cross, jnp.eye(d)], axis=1)  # X Y^T, and 1 for the inverse
        solved = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(gram), right)
        spread: Array = jnp.asarray(signal) ** 2 * b @ b.T + jnp.asarray(noise) ** 2 * solved[:, m:]
        return solved[:, :m].T, true, spread

    # on CPU one after the other: LAPACK's calls for a whole batch wait for one another there, sometimes for ever
    return jax.lax.map(one, keys) if jax.default_backend() == "cpu" else jax.vmap(one)(keys)


def noise_variance(model: Model, samples: int) -> np.ndarray:
    """(d,) mean square of an entry of W_hat - W* along each eigenvector: noise^2/((N - d - 1) lambda_j).

    Raises:
      ValueError: N < d + 2, where the mean is not finite.
    """
    d = model.evals.size
    if samples < d + 2:
        raise ValueError(f"N = {samples} samples in {d} dimensions; expected at least {d + 2}")
    return model.noise**2 / ((samples - d - 1) * model.evals)


def law(model: Model, samples: int) -> GeneralisedLaw:
    """The law of the eigenvalues of W_hat^T W_hat/m where W* is 0 or reads all directions."""
    points, weights = GeneralisedLaw(model.evals, model.evals.size / samples, cells=_NODES).nodes()
    population = model.added + model.noise**2 / (samples * points)
    return GeneralisedLaw(population, model.evals.size / model.outputs, weights)


def law_of(evals: ArrayLike, outputs: int) -> GeneralisedLaw:
    """The same from simulated spectra (B, d) of the covariance C of the rows of W_hat, all of them together."""
    evals = np.asarray(evals, np.float64)
    points = np.sort(evals.ravel())
    ends = np.linspace(0, points.size, min(_NODES, points.size) + 1).astype(int)
    means = np.add.reduceat(points, ends[:-1]) / np.diff(ends)
    return GeneralisedLaw(means, evals.shape[-1] / outputs, np.diff(ends))


def inverse_law(model: Model, samples: int) -> GeneralisedLaw:
    """What `law` would be if X X^T were N Sigma: its population then has 1/(N lambda) in the place of 1/(N l)."""
    population = model.added + model.noise**2 / (samples * model.evals)
    return GeneralisedLaw(population, model.evals.size / model.outputs)


def isotropic_ratios(model: Model, samples: int, seed: Sequence[int], num: int) -> np.ndarray:
    """(num,) smallest over median singular value of W_hat where the data vary alike in all directions.

    Sigma is 1/mean(1/lambda) there, so that there is as much noise in all directions together. The same law as `fit`
    has, from Bartlett's factors: X X^T = Sigma L L^T, L lower triangular with chi_N, chi_(N-1), ... on its diagonal
    and Gaussian entries below. The first of more are the same.
    """
    d = model.evals.size
    scale = model.noise * np.sqrt(np.mean(1 / model.evals))
    below, unit = np.tril(np.ones((d, d)), -1), np.eye(d)
    result = np.empty(num)
    for i in range(num):
        rng = np.random.default_rng([*seed, i])
        factor = below * rng.standard_normal((d, d))
        np.fill_diagonal(factor, np.sqrt(rng.chisquare(samples - np.arange(d))))
        half = scale * scipy.linalg.solve_triangular(factor, unit, lower=True)  # half^T half is C
        if model.signal and model.rank:
            b = np.linalg.qr(rng.standard_normal((d, model.rank)))[0]
            half = scipy.linalg.cholesky(half.T @ half + model.signal**2 * b @ b.T)
        s = np.linalg.svd(rng.standard_normal((model.outputs, d)) @ half, compute_uv=False)
        result[i] = s[-1] / np.median(s)
    return result
