"""From updates to the matrices and biases of a checkpoint, and what of it they change."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from eigensweep.engine.studies.editing.updates import Update, applied
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint
from eigensweep.models.matrix import same_content


@dataclass(frozen=True)
class Edit:
    """What takes the place of a checkpoint's numbers: W (out, in) by the matrices' names, biases by their paths."""

    matrices: dict[str, np.ndarray]
    vectors: dict[str, np.ndarray]


class Weights:
    """The matrices and biases of a checkpoint that edits touch, read once each, float64."""

    def __init__(self, checkpoint: Checkpoint):
        self._matrices = {m.path.removesuffix("/kernel"): m for m in checkpoint.matrices if m.path.endswith("/kernel")}
        self._leaves = {leaf.path: leaf for leaf in checkpoint.leaves}
        self._read: dict[str, np.ndarray] = {}

    def edit(self, updates: list[Update]) -> Edit:
        """The checkpoint's numbers after all updates."""
        paths = dict.fromkeys(update.path for update in updates)
        biases = {p: b for p in paths if (b := self._bias(p)) is not None}
        new, shifted = applied(updates, {path: self._matrix(path) for path in paths}, biases)
        named = {self._matrices[path].name: w for path, w in new.items()}
        return Edit(named, {f"{path}/bias": b for path, b in shifted.items()})

    def homeless(self, updates: list[Update]) -> list[str]:
        """Paths whose shifts have no bias to go to."""
        shifts = [u.path for u in updates if u.shift is not None and np.any(u.shift)]
        return [path for path in dict.fromkeys(shifts) if f"{path}/bias" not in self._leaves]

    def changes(self, edit: Edit) -> list[dict[str, Any]]:
        """A row a changed tensor, rounded as it is stored: its name, and |W' - W|_F relative to |W|_F.

        Raises:
          RunError: entries that do not fit into the stored dtype.
        """
        rows = []
        for path, matrix in self._matrices.items():
            if matrix.name in edit.matrices:
                rows.append(_change(matrix.name, matrix.dtype, self._matrix(path), edit.matrices[matrix.name]))
        for path, vector in edit.vectors.items():
            leaf = self._leaves[path]
            rows.append(_change(leaf.tensor.name, leaf.dtype, self._vector(path), vector))
        return rows

    def norm(self, path: str) -> float:
        """|W|_F of the matrix at a path."""
        return float(np.linalg.norm(self._matrix(path)))

    def _matrix(self, path: str) -> np.ndarray:
        if path not in self._read:
            self._read[path] = np.asarray(self._matrices[path].read(), np.float64)
        return self._read[path]

    def _vector(self, path: str) -> np.ndarray:
        return np.asarray(self._leaves[path].read(), np.float64)

    def _bias(self, path: str) -> np.ndarray | None:
        return self._vector(f"{path}/bias") if f"{path}/bias" in self._leaves else None


def differing(checkpoint: Checkpoint, other: Checkpoint) -> tuple[list[str], int]:
    """The names of the stored tensors whose bytes differ between two checkpoints, and how many there are in all."""
    ours, theirs = checkpoint.source.tensors, other.source.tensors
    names = {*ours, *theirs}
    differ = [n for n in names if n not in ours or n not in theirs or not same_content(ours[n], theirs[n])]
    return sorted(differ), len(names)


def _change(name: str, dtype: str, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = after.astype(dtype).astype(np.float64)
        difference = np.linalg.norm(rounded - before)
    if not np.isfinite(rounded).all():
        raise RunError(f"{name}: the edit makes entries that do not fit into {dtype}; take a smaller --scale")
    norm = np.linalg.norm(before)
    return {
        "tensor": name,
        "shape": list(before.shape),
        "change": float(difference),
        "relative_change": float(difference / norm) if norm else None,
    }
