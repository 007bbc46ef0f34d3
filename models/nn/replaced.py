"""A model's parameters with some matrices replaced, and its scores; the one place where matrices become leaves."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.data.batches import Rows, batches
from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Matrix
from eigensweep.models.nn.devices import with_memory_advice
from eigensweep.models.nn.evaluate import Scores, stream_score
from eigensweep.models.nn.load import reader
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, get, replace, walk

Replaced = Mapping[str, np.ndarray]
"""W (m, n), y = W x, by the names of the checkpoint's matrices."""


def with_matrices(
    params: Params, checkpoint: Checkpoint, replaced: Replaced, vectors: Mapping[str, np.ndarray] | None = None
) -> Params:
    """The tree of parameters with matrices in place of their leaves; all other leaves are shared.

    They are rounded to the checkpoint's dtype first, as they would be in its files.

    Args:
      vectors: leaves that are no matrices, biases and the like, by their paths.

    Raises:
      CheckpointError: the checkpoint has no such matrix, or the forward pass does not read it.
      ValueError: another shape.
    """
    for matrix in _matrices(params, checkpoint, replaced):
        leaf = get(params, matrix.path)
        kernel = _kernel(matrix, replaced[matrix.name]).astype(leaf.dtype)
        # committed or not as the leaf was: XLA compiles anew for another placement
        array = jax.device_put(kernel, leaf.sharding if leaf.committed else None)
        if matrix.index is not None:
            array = leaf.at[matrix.index].set(array)
        params = replace(params, matrix.path, array)
    for path, vector in (vectors or {}).items():
        leaf = get(params, path)
        rounded = vector.astype(_stored(checkpoint, path)).astype(leaf.dtype)
        params = replace(params, path, jax.device_put(rounded, leaf.sharding if leaf.committed else None))
    return params


def streamed_scores(
    checkpoint: Checkpoint,
    model: Model,
    replaced: Replaced,
    rows: Rows,
    batch_size: int,
    head: str = "default",
    vectors: Mapping[str, np.ndarray] | None = None,
) -> Scores:
    """`score` with matrices in place of the checkpoint's, one block of the model on the device at a time.

    Args:
      vectors: as of `with_matrices`.

    Raises:
      CheckpointError, ValueError: as `with_matrices`.
      DeviceMemoryError: out of memory, with the batch size that would fit.
    """
    matrices, read_stored = _matrices(model.abstract(), checkpoint, replaced), reader(checkpoint, model)

    def read(part: str) -> Params:
        params = read_stored(part)
        prefix = f"{part}/" if part.startswith("blocks/") else ""
        inside = {path for path, _ in walk(params)}
        for matrix in matrices:
            path = matrix.path.removeprefix(prefix)
            if matrix.path.startswith(prefix) and path in inside:  # a tied embedding is in two parts
                kernel = _kernel(matrix, replaced[matrix.name])
                if matrix.index is not None:
                    stack = np.array(get(params, path))
                    stack[matrix.index] = kernel
                    kernel = stack
                params = replace(params, path, kernel)
        for path, vector in (vectors or {}).items():
            if path.startswith(prefix) and path.removeprefix(prefix) in inside:
                params = replace(params, path.removeprefix(prefix), vector.astype(_stored(checkpoint, path)))
        return params

    def run(size: int, most: int | None = None) -> Scores:
        return stream_score(model, read, list(batches(rows, size))[:most], head)

    return with_memory_advice(run, batch_size, lambda size: run(size, 1))


def _matrices(params: Params, checkpoint: Checkpoint, replaced: Replaced) -> list[Matrix]:
    """The checkpoint's matrices of these names, all of which must be leaves of `params`."""
    paths = {path for path, _ in walk(params)}
    chosen = [matrix for matrix in checkpoint.matrices if matrix.name in replaced]
    if absent := sorted(set(replaced) - {matrix.name for matrix in chosen}):
        raise CheckpointError(f"{checkpoint.source.name}: has no matrix {', '.join(absent)}")
    for matrix in chosen:
        if matrix.path not in paths:
            raise CheckpointError(f"{matrix.name}: the forward pass does not read it; leave it out")
    return chosen


def _stored(checkpoint: Checkpoint, path: str) -> str:
    """The dtype of a leaf in the checkpoint."""
    return next(leaf.dtype for leaf in checkpoint.leaves if leaf.path == path)


def _kernel(matrix: Matrix, w: np.ndarray) -> Any:
    """W (m, n) as it is stored: rounded to the checkpoint's dtype, contiguous."""
    if w.shape != matrix.shape:
        raise ValueError(f"{matrix.name}: expected a matrix {matrix.shape}, got {w.shape}")
    return np.ascontiguousarray((w.T if matrix.transposed else w).astype(matrix.dtype))
