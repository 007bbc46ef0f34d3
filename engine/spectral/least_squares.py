"""Ridgeless least squares with random data: what noise leaves in the fitted matrix, and by which law.

y = W* x + noise * e, x ~ N(0, Sigma) in d, e ~ N(0, 1) in m dimensions, N > d + 1 samples as columns of X (d, N) and
Y (m, N). Then

    W_hat = Y X^T (X X^T)^-1 = W* + noise E X^T (X X^T)^-1,

and given X the rows of the second term are independent N(0, noise^2 (X X^T)^-1): of mean variance
noise^2/((N - d - 1) lambda_j) along the j-th eigenvector of Sigma. Where the data vary most the noise is least.

Sigma is diagonal here: the coordinates are those along its eigenvectors. That is no restriction, as the law of noise
and W* is the same in all of them.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


class Shape(NamedTuple):
    """What a simulation's arrays are made from: d inputs, m outputs, N samples, how many directions W* reads (0: none)."""

    inputs: int
    outputs: int
    samples: int
    rank: int


@partial(jax.jit, static_argnames="shape")
def fit(keys: Array, evals: ArrayLike, noise: ArrayLike, signal: ArrayLike, shape: Shape) -> tuple[Array, Array, Array]:
    """Simulate data and fit them, a simulation a key.

    Args:
      keys: (B,) PRNG keys; a simulation depends on its own alone.
      evals: (d,) eigenvalues of Sigma.
      noise: standard deviation of the noise in y.
      signal: W* = signal * A B^T, A (m, rank) Gaussian, B (d, rank) random and orthonormal.

    Returns:
      W_hat (B, m, d), W* (B, m, d), X X^T (B, d, d), float64.
    """
    root = jnp.sqrt(jnp.asarray(evals, jnp.float64))

    def one(key: Array) -> tuple[Array, Array, Array]:
        of_x, of_e, of_a, of_b = jax.random.split(key, 4)
        d, m, n, rank = shape
        x = root[:, None] * jax.random.normal(of_x, (d, n), jnp.float64)
        a = jax.random.normal(of_a, (m, rank), jnp.float64)
        b = jnp.linalg.qr(jax.random.normal(of_b, (d, rank), jnp.float64))[0] if rank else jnp.zeros((d, 0))
        true = signal * a @ b.T
        y = true @ x + noise * jax.random.normal(of_e, (m, n), jnp.float64)
        gram = x @ x.T
        return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(gram), x @ y.T).T, true, gram

    return jax.vmap(one)(keys)


def noise_variance(evals: ArrayLike, noise: float, samples: int) -> np.ndarray:
    """(d,) mean square of an entry of W_hat - W* along each eigenvector: noise^2/((N - d - 1) lambda_j)."""
    evals = np.asarray(evals, np.float64)
    if samples <= evals.size + 1:
        raise ValueError(f"N = {samples} samples in {evals.size} dimensions; expected at least {evals.size + 2}")
    return noise**2 / ((samples - evals.size - 1) * evals)
