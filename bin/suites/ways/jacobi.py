"""Right singular vectors by one-sided block Jacobi: orthogonal columns, a block pair at a time, all pairs in a batch.

W = Q R, and the columns of X = R^T become orthogonal: X J = V diag(s). A step turns every pair of column blocks by the
eigenvectors of its Gram matrix, largest first; a sweep of steps meets every pair once (the round robin of
tournaments). Products and batched small eigenproblems are all of it.

Reference: Z. Drmac, K. Veselic, New fast and accurate Jacobi SVD algorithm I, SIAM J. Matrix Anal. Appl. 29 (2008).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


@partial(jax.jit, static_argnames=("side", "sweeps"))
def right_vectors(w: Array, *, side: int = 32, sweeps: int = 20) -> tuple[Array, Array]:
    """s (n,), descending, and V (n, n) of a finite tall or square W (m, n), float32 or float64.

    Args:
      side: columns a block.
      sweeps: at most; fewer where every cosine between columns is below n times the machine's epsilon. Columns of
        s = 0 are not determined, and zero.
    """
    n = w.shape[1]
    count = 2 * max(1, -(-n // (2 * side)))
    x = jnp.linalg.qr(w, mode="r").T
    x = jnp.pad(x, ((0, 0), (0, count * side - n)))
    blocks = x.reshape(n, count, side).swapaxes(0, 1)
    small = n * float(jnp.finfo(w.dtype).eps)

    def sweep(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        found, worst = lax.scan(_turn, state[0], jnp.asarray(_tournament(count)))
        return found, jnp.max(worst), state[2] + 1

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        return (state[1] > small) & (state[2] < sweeps)

    with jax.default_matmul_precision("highest"):
        start = (blocks, jnp.asarray(jnp.inf, w.dtype), jnp.zeros((), jnp.int32))
        blocks, _, _ = lax.while_loop(unfinished, sweep, start)
    x = blocks.swapaxes(0, 1).reshape(n, count * side)
    s = jnp.linalg.norm(x, axis=0)
    order = jnp.argsort(-s)[:n]
    return s[order], x[:, order] / jnp.where(s[order] > 0, s[order], 1)


def _turn(blocks: Array, pairs: Array) -> tuple[Array, Array]:
    """One step; the largest cosine between two columns of a pair before it."""
    _, n, side = blocks.shape
    both = blocks[pairs].transpose(0, 2, 1, 3).reshape(len(pairs), n, 2 * side)
    gram = both.mT @ both
    norms = jnp.sqrt(jnp.diagonal(gram, axis1=1, axis2=2))
    scale = norms[:, :, None] * norms[:, None, :]
    cosines = jnp.where(scale > 0, jnp.abs(gram) / jnp.where(scale > 0, scale, 1), 0)
    off = jnp.max(jnp.where(jnp.eye(2 * side, dtype=bool), 0, cosines))
    _, rotation = jnp.linalg.eigh(gram)
    both = (both @ rotation[:, :, ::-1]).reshape(len(pairs), n, 2, side).transpose(0, 2, 1, 3)
    return blocks.at[pairs].set(both), off


def _tournament(count: int) -> np.ndarray:
    """(count - 1, count / 2, 2): every round pairs all of `count` players, and every two meet once."""
    others = np.arange(1, count)
    rounds = [np.r_[0, np.roll(others, i)] for i in range(count - 1)]
    return np.sort([np.stack([r[: count // 2], r[: count // 2 - 1 : -1]], 1) for r in rounds], axis=2)
