"""A model's parameters with some matrices replaced, and its scores; the one place where matrices become leaves."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.data.batches import Rows, batches
from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Matrix
from eigensweep.models.nn.devices import with_memory_advice
from eigensweep.models.nn.evaluate import Scores, collect, predicting
from eigensweep.models.nn.load import part_keys, reader, reader_of
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, get, replace, walk
from eigensweep.models.nn.variants import parts_of, score_variants

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
    return _Replacing(checkpoint, params, replaced, vectors or {}).within(params, "")


class _Replacing:
    """A variant of a model (variants.Variant): matrices and vectors in place of its own."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        tree: Params,
        replaced: Replaced,
        vectors: Mapping[str, np.ndarray],
        model: Any = None,
    ):
        self._checkpoint, self._replaced, self._vectors = checkpoint, replaced, vectors
        self._matrices = _matrices(tree, checkpoint, replaced)
        paths = [*(matrix.path for matrix in self._matrices), *vectors]
        parts = parts_of(model) if model is not None else ()
        self.parts = frozenset(part for part in parts if any(p.startswith(part_keys(model, part)) for p in paths))

    def changed(self, part: str, params: Params) -> Params:
        """The parameters of a part."""
        return self.within(params, f"{part}/" if part.startswith("blocks/") else "")

    def within(self, params: Params, prefix: str) -> Params:
        """A tree, or the subtree at a prefix, with everything in place that belongs there; one matrix at a time."""
        inside = {f"{prefix}{path}" for path, _ in walk(params)}
        for matrix in (matrix for matrix in self._matrices if matrix.path in inside):
            path = matrix.path.removeprefix(prefix)
            leaf = get(params, path)
            kernel = _kernel(matrix, self._replaced[matrix.name]).astype(leaf.dtype)
            array = _beside(leaf, kernel)
            if matrix.index is not None:
                array = leaf.at[matrix.index].set(array)
            params = replace(params, path, array)
        for where in (path for path in self._vectors if path in inside):
            path = where.removeprefix(prefix)
            leaf = get(params, path)
            rounded = self._vectors[where].astype(_stored(self._checkpoint, where)).astype(leaf.dtype)
            params = replace(params, path, _beside(leaf, rounded))
        return params


def _beside(leaf: jax.Array, array: np.ndarray) -> jax.Array:
    """On the leaf's devices; committed or not as the leaf is, because XLA compiles anew for another placement."""
    return jax.device_put(array, leaf.sharding if leaf.committed else None)


def variant_scores(
    checkpoint: Checkpoint,
    model: Model,
    params: Params | None,
    variants: Sequence[Replaced],
    rows: Rows,
    batch_size: int,
    head: str = "default",
    vectors: Mapping[str, np.ndarray] | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
) -> list[Scores]:
    """`score` with each of `variants` in place of the checkpoint's matrices, all in one pass over the model.

    Args:
      params: on the device; None: one part at a time is read from the checkpoint, and the streams wait on the host.
      vectors: as of `with_matrices`, of all variants.
      mesh: deals the rows of a batch out over its axis "data".
      dtype: of parameters that are read; None: as stored.

    Raises:
      CheckpointError, ValueError: as `with_matrices` and `score`.
      DeviceMemoryError: out of memory, with the batch size that would fit.
    """
    tree, read = (model.abstract(), reader(checkpoint, model)) if params is None else (params, reader_of(params, model))
    changes = [_Replacing(checkpoint, tree, replaced, vectors or {}, model) for replaced in variants]
    head = predicting(model, head, rows)
    keep = jax.device_get if params is None else _as_it_is

    def run(size: int, most: int | None = None) -> Any:
        data = list(batches(rows, size))[:most]
        return score_variants(model, read, changes, data, head, mesh, dtype, keep)

    multiple = 1 if mesh is None else mesh.shape["data"]
    return [collect(found) for found in with_memory_advice(run, batch_size, lambda size: run(size, 1), multiple)]


def streamed_scores(
    checkpoint: Checkpoint,
    model: Model,
    replaced: Replaced,
    rows: Rows,
    batch_size: int,
    head: str = "default",
    vectors: Mapping[str, np.ndarray] | None = None,
) -> Scores:
    """`variant_scores` of one variant, with one part of the model on the device at a time."""
    return variant_scores(checkpoint, model, None, [replaced], rows, batch_size, head, vectors)[0]


def _as_it_is(x: Any) -> Any:
    return x


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
