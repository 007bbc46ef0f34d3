"""What a checkpoint offers to the sweep: named, oriented matrices, and what was left out and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Matrix:
    """One weight matrix, oriented as y = W x, not yet read.

    Attributes:
      name: unique; the source tensor's own name, with `:query` for a part of a fused tensor, `[3]` for a slice of
        a stacked one, `:delta` for a LoRA update of that weight.
      role: one of `roles.ROLES`.
      block: index of the transformer block, None outside the blocks.
      shape: (m, n) = (outputs, inputs). Embeddings are maps too, from one-hot tokens: (d, vocabulary).
      dtype: of the array that `read` gives, which is the stored one ("bfloat16"); LoRA updates are "float32".
      guessed: the role was guessed from the name, because the architecture is unknown.
      tied: other names under which the same weights serve or are stored.
      file: the file in the checkpoint that holds it.
      expert: index of the expert in a mixture of experts.
      path: the leaf of the Flax pytree that holds it ("blocks/0/attention/query/kernel"), empty for LoRA updates.
      index: the slice of that leaf's first axis, where the leaf is a stack.
      transposed: W is the transpose of that leaf (or slice); always so in trees of known architectures.
    """

    name: str
    role: str
    block: int | None
    shape: tuple[int, int]
    dtype: str
    guessed: bool
    tied: tuple[str, ...]
    file: str
    expert: int | None
    path: str
    index: int | None
    transposed: bool
    reader: Callable[[], np.ndarray] = field(repr=False, compare=False)

    def read(self) -> np.ndarray:
        """The (m, n) array in its own dtype, C-contiguous.

        Raises:
          CheckpointError: the file has gone, or is shorter than it was.
        """
        return np.ascontiguousarray(self.reader())

    def with_tied(self, names: Sequence[str]) -> "Matrix":
        """This matrix with further names that its weights serve under."""
        return replace(self, tied=(*self.tied, *names)) if names else self


@dataclass(frozen=True)
class Skipped:
    """A tensor that the sweep leaves out; `reason` says why."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    reason: str
