"""Reading a converted checkpoint: the matrices that the conversion noted, now cut from the leaves."""

from typing import Any

from eigensweep.models.cut import Cut
from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Matrix, Skipped
from eigensweep.models.plan import Leaf, Plan
from eigensweep.models.sources.orbax import NOTES
from eigensweep.models.sources.source import Source


def _matrix(source: Source, entry: dict[str, Any]) -> Matrix:
    tensor = source.tensors[entry["path"]]
    cut = Cut(tensor, "embedding" if entry["transposed"] else "linear", entry["index"])
    fields = {**entry, "shape": tuple(entry["shape"]), "tied": tuple(entry["tied"])}
    matrix = Matrix(**fields, dtype=tensor.dtype, file=tensor.file, reader=cut.matrix)
    stored = cut.stored_shape[::-1] if matrix.transposed else cut.stored_shape
    if matrix.shape != stored:
        raise ValueError(f"{matrix.name} is said to be {list(matrix.shape)}, its leaf holds {list(stored)}")
    return matrix


def plan_converted(source: Source) -> Plan:
    """The plan that the source of the conversion had, over the converted leaves.

    Raises:
      CheckpointError: notes that contradict themselves.
    """
    notes = source.notes or {}
    try:
        matrices = tuple(_matrix(source, entry) for entry in notes["matrices"])
        skipped = tuple(Skipped(**{**entry, "shape": tuple(entry["shape"])}) for entry in notes["skipped"])
    except (KeyError, TypeError, ValueError) as e:
        raise CheckpointError(f"{source.name}/{NOTES}: not as eigensweep-convert writes it: {e}") from e
    leaves = tuple(Leaf(path, tensor.shape, tensor) for path, tensor in source.tensors.items())
    return Plan(matrices, skipped, leaves, warnings=tuple(map(str, notes["warnings"])))
