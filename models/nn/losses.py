"""From logits to losses, of some tokens at a time: 4,096 tokens make 2 GB of logits over a vocabulary of 128,256."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import Array

from eigensweep.models.data.batches import IGNORE

CHUNK_BYTES = 1 << 28  # of float32 logits that are there at a time
Losses = tuple[Array, Array, Array]
"""Summed negative log-likelihood, nats, float32; number of targets; how many had the largest logit, int32."""


@jax.jit
def score_logits(logits: Any, targets: Any) -> Losses:
    """Total, count and correct of every row, from logits (B, ..., classes) and targets (B, ...), IGNORE not scored."""
    return of_rows(token_losses(logits, targets))


def token_losses(logits: Any, targets: Any) -> Losses:
    """The same of every single target, (B, ...)."""
    chex.assert_equal_shape_prefix([logits, targets], targets.ndim)
    scored = targets != IGNORE
    index = jnp.where(scored, targets, 0)
    picked = jnp.take_along_axis(logits, index[..., None], axis=-1)[..., 0]
    loss = jnp.where(scored, jax.nn.logsumexp(logits, axis=-1) - picked, 0.0)
    return loss, scored, scored & (jnp.argmax(logits, axis=-1) == index)


def of_rows(losses: Losses) -> Losses:
    """Sums of (B, ...) over everything but the rows, (B,)."""
    loss, scored, correct = losses
    axes = tuple(range(1, loss.ndim))
    return loss.sum(axes), scored.sum(axes, dtype=jnp.int32), correct.sum(axes, dtype=jnp.int32)


def chunk_size(rows: int, classes: int) -> int:
    """Tokens a row whose logits over so many classes stay within CHUNK_BYTES; at least 1."""
    return max(1, CHUNK_BYTES // (4 * rows * max(classes, 1)))


def in_chunks(run: Callable[[Array, Array], Any], size: int, x: Array, targets: Array) -> Any:
    """run(x, targets) on `size` tokens of every row at a time.

    Args:
      run: from (B, C, d) and (B, C) to a tree of arrays (B, C, ...), token by token.
      size: C.
      x: (B, T, d).
      targets: (B, T).

    Returns:
      The tree of arrays (B, T, ...).
    """
    tokens = x.shape[1]
    count = -(-tokens // size)
    fill = (0, count * size - tokens)

    def cut(array: Array, value: int) -> Array:
        padded = jnp.pad(array, ((0, 0), fill, *((0, 0),) * (array.ndim - 2)), constant_values=value)
        return jnp.moveaxis(padded.reshape(len(array), count, size, *array.shape[2:]), 1, 0)

    def joined(array: Array) -> Array:
        return jnp.moveaxis(array, 0, 1).reshape(array.shape[1], count * size, *array.shape[3:])[:, :tokens]

    parts = jax.lax.map(lambda part: jax.checkpoint(run)(*part), (cut(x, 0), cut(targets, IGNORE)))
    return jax.tree.map(joined, parts)
