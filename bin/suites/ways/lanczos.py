"""Both ends of the spectra of a batch of Gram matrices on a device: what `spectral/extremes.py` does on the host.

largest     Lanczos on G, all matrices at once, a number of steps that follows from their side alone.
smallest    Lanczos on G^-1 through a Cholesky factor that is inverted itself: a triangular solve for one right-hand
            side waits for every row, a product with the inverse does not.

Every vector is made orthogonal to all before it, which costs a hundredth of the products with G; without it copies of a
value that has converged turn up, whose vectors tell of no convergence, and a device does not stop to look.

What did not converge (the bound of extremes.py), or has no Cholesky factor, is NaN: whoever calls decomposes it whole.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

TOLERANCE = 1e-11  # of a value, as on the host
_SEED = 11


@jax.jit
def ends(grams: Array) -> Array:
    """(B, 2): the largest and the smallest eigenvalue of positive definite matrices (B, n, n), float64."""
    with jax.default_matmul_precision("highest"):
        high = _largest(grams[:, None])
        factor = jnp.linalg.cholesky(grams, symmetrize_input=False)
        eye = jnp.broadcast_to(jnp.eye(grams.shape[1], dtype=grams.dtype), grams.shape)
        inverse = lax.linalg.triangular_solve(factor, eye, left_side=True, lower=True)
        low = 1 / _largest(jnp.stack([inverse, inverse.mT], axis=1))
    return jnp.stack([high, low], axis=1)


@jax.jit
def flip_ends(x: Array, packed: Array) -> Array:
    """(F, 2): `ends` of the Gram matrices of X (a, n) with its entries' signs changed by F rows of packed bits."""

    def gram(bits: Array) -> Array:
        flip = x * (1.0 - 2.0 * jnp.unpackbits(bits, count=x.size).reshape(x.shape))
        return jnp.matmul(flip.T, flip, precision=lax.Precision.HIGHEST)

    return ends(lax.map(gram, packed))


def steps_for(side: int) -> int:
    """Twice the about 3 (n/2)^(1/3) + 30 steps that the edges of the Marchenko-Pastur law want."""
    return min(side, int(6 * (side / 2) ** (1 / 3)) + 60)


def _largest(factors: Array) -> Array:
    """(B,) largest eigenvalues of A_k ... A_1, factors (B, k, n, n); NaN where the bound is above the tolerance."""
    batch, count, side, _ = factors.shape
    steps = steps_for(side)
    start = jax.random.normal(jax.random.key(_SEED), (side,), factors.dtype)
    v = jnp.broadcast_to(start / jnp.linalg.norm(start), (batch, side))

    def step(state: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        basis, v = state
        basis = basis.at[:, i].set(v)
        w = v
        for k in range(count):
            w = jnp.einsum("bij,bj->bi", factors[:, k], w)
        diagonal = jnp.sum(v * w, axis=1)
        for _ in range(2):
            w = w - jnp.einsum("bk,bki->bi", jnp.einsum("bki,bi->bk", basis, w), basis)
        length = jnp.linalg.norm(w, axis=1)
        ended = length <= 1e-14 * jnp.abs(diagonal)  # the vectors span an invariant space: nothing follows
        length = jnp.where(ended, 0, length)
        following = jnp.where(ended[:, None], 0, w / jnp.where(ended, 1, length)[:, None])
        return (basis, following), (diagonal, length)

    basis = jnp.zeros((batch, steps, side), factors.dtype)
    _, (diagonal, beside) = lax.scan(step, (basis, v), jnp.arange(steps))
    diagonal, beside = diagonal.T, beside.T
    place = jnp.arange(steps)
    tridiagonal = jnp.zeros((batch, steps, steps), factors.dtype).at[:, place, place].set(diagonal)
    tridiagonal = tridiagonal.at[:, place[1:], place[:-1]].set(beside[:, :-1])
    values, vectors = jnp.linalg.eigh(tridiagonal, symmetrize_input=False)
    top, gap = values[:, -1], values[:, -1] - values[:, -2]
    residual = beside[:, -1] * jnp.abs(vectors[:, -1, -1])
    error = jnp.where(gap > 0, jnp.minimum(residual, residual**2 / jnp.where(gap > 0, gap, 1)), residual)
    return jnp.where(error <= TOLERANCE * jnp.abs(top), top, jnp.nan)
