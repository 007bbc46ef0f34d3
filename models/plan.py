"""What becomes of a checkpoint's tensors: matrices to sweep, leaves of the pytree, and all that does not fit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Cut, Matrix, Skipped, Tensor
from eigensweep.models.roles import TOWERS


@dataclass(frozen=True)
class Leaf:
    """A leaf of the Flax pytree, not yet read; without a cut it is the tensor as stored."""

    path: str
    shape: tuple[int, ...]
    tensor: Tensor
    cut: Cut | None = None

    @property
    def dtype(self) -> str:
        """Name of the stored dtype."""
        return self.tensor.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def read(self) -> np.ndarray:
        """The array in the stored dtype, C-contiguous."""
        array = self.cut.read_leaf() if self.cut else self.tensor.read()
        return np.ascontiguousarray(array).reshape(self.shape)  # ascontiguousarray makes a scalar 1-D


@dataclass(frozen=True)
class Plan:
    """A checkpoint, sorted out; nothing is read.

    Attributes:
      matrices: in model order.
      skipped: every tensor that no matrix comes from.
      leaves: of the Flax pytree.
      cuts: where each matrix lies in its tensor, by the matrix's name; empty for sources that cannot be edited.
      mismatches: between the checkpoint and the architecture in its config; a conversion refuses them.
      warnings: what the user should know.
    """

    matrices: tuple[Matrix, ...]
    skipped: tuple[Skipped, ...]
    leaves: tuple[Leaf, ...] = ()
    cuts: Mapping[str, Cut] = field(default_factory=dict)
    mismatches: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class Draft:
    """A plan in the making. Matrices carry the key they will be sorted by."""

    matrices: list[tuple[tuple, Matrix]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    leaves: dict[str, Leaf] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tied: dict[str, str] = field(default_factory=dict)
    """{tensor: the tensor that holds the same weights and is analysed for both}."""

    def skip(self, tensor: Tensor, reason: str) -> None:
        """Leaves a tensor out of the sweep."""
        self.skipped.append(Skipped(tensor.name, tensor.shape, tensor.dtype, reason))

    def add_matrix(self, key: tuple, matrix: Matrix, cut: Cut) -> None:
        """Takes a matrix up, at a place given by its key among those of its tower: (before, in or after the blocks,
        block, ...).

        Raises:
          CheckpointError: another tensor has given a matrix of that name, as a tensor "x[0]" beside a stack "x" does.
        """
        known = self.cuts.get(matrix.name)
        if known is not None and known.tensor.name != cut.tensor.name:
            names = f"{known.tensor.name} and {cut.tensor.name}"
            raise CheckpointError(f"{cut.tensor.file}: tensors {names} would both give a matrix {matrix.name}")
        tower = TOWERS.index(base) + 1 if (base := matrix.tower.split(".")[0]) in TOWERS else 0
        shared_end = not base and key[0] == 2  # behind all towers
        self.matrices.append((((len(TOWERS) + 1) if shared_end else tower, *key), matrix))
        self.cuts[matrix.name] = cut

    def finish(self) -> Plan:
        """The plan, ties resolved: of tensors with the same weights one is analysed and names the others."""
        names: dict[str, list[str]] = {}
        for second, kept in self.tied.items():
            names.setdefault(kept, []).append(second)
        matrices = []
        left_out = {skipped.name for skipped in self.skipped}
        for _, matrix in sorted(self.matrices, key=lambda item: item[0]):
            tensor = self.cuts[matrix.name].tensor
            if tensor.name in self.tied:
                if tensor.name not in left_out:
                    self.skip(tensor, f"the same weights as {self.tied[tensor.name]}, analysed there")
                    left_out.add(tensor.name)
                continue
            matrices.append(matrix.with_tied(names.get(tensor.name, ())))
        leaves = tuple(self.leaves.values())
        notes = tuple(self.mismatches), tuple(self.warnings)
        return Plan(tuple(matrices), tuple(self.skipped), leaves, self.cuts, *notes)
