"""Text drawn from a causal model itself: data for a model whose own data are not at hand."""

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.models.data.batches import IGNORE, Rows
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params

_SHORTEST = 16  # tokens a forward pass at least: fewer shapes to compile


def sample_rows(model: Model, params: Params, start: int, num_rows: int, length: int, seed: int) -> Rows:
    """Rows of tokens from the model's own distribution, at temperature 1; every token but the first is a target.

    On such rows the expected loss is the model's entropy, and the rise of another model's expected loss on them is
    its Kullback-Leibler divergence from this one, never negative.

    Args:
      model, params: a causal model.
      start: id of the first token of every row (the tokenizer's start token).
      num_rows: rows.
      length: tokens a row, the first included; at most the model's number of positions.
      seed: of the draws.

    Raises:
      CheckpointError: the model has no language model's head.
      ValueError: a length out of range.
    """
    most = model.architecture.max_positions
    if not 2 <= length <= most:
        raise ValueError(f"length: expected 2 to the model's {most} positions, got {length}")
    head = model.head("unembedding")
    key = jax.random.key(seed)
    ids = np.zeros((num_rows, length), np.int32)
    ids[:, 0] = start
    for t in range(1, length):
        width = min(length, max(_SHORTEST, 1 << (t - 1).bit_length()))  # few shapes, and little past token t
        logits = model.apply(params, ids[:, :width], head=head).logits
        assert logits is not None
        drawn = jax.random.categorical(jax.random.fold_in(key, t), jnp.asarray(logits)[:, t - 1])
        ids[:, t] = np.asarray(drawn)
    targets = np.concatenate((ids[:, 1:], np.full((num_rows, 1), IGNORE, np.int32)), axis=1)
    return Rows(ids, np.ones(ids.shape, bool), np.zeros_like(ids), targets, np.arange(num_rows, dtype=np.int32))
