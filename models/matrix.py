"""From a stored tensor to an oriented matrix: what the sweep gets, and what was left out and why.

A `Tensor` is read when its turn comes, by ranges of its first axis. It may hold several weights: fused along the
outputs, end to end or alternating head by head, and stacked over experts. A `Cut` is one of them, read as the matrix
W of y = W x or as the leaf of the pytree, and put back again. A `Matrix` is what the sweep sees of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eigensweep.models.families.rules import Layout

FLOATING = ("bfloat16", "float16", "float32", "float64")
"""The dtypes that a sweep can take as they are. Narrower floats mean nothing without their scales."""

_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class Tensor:
    """A tensor under its name in the source. `reader(start, stop)` reads rows; a scalar counts as one row."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: str
    reader: Callable[[int, int], np.ndarray] = field(repr=False, compare=False)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop (all by default) in the stored dtype."""
        if not self.shape:
            return self.reader(0, 1).reshape(())
        return self.reader(start, self.shape[0] if stop is None else stop)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def same_content(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bytes; reads both in chunks and stops at the first difference."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    count = a.shape[0] if a.shape else 1
    rows = max(1, _CHUNK_BYTES * count // max(a.nbytes, 1))
    for start in range(0, count, rows):
        # As bytes: NaN equals NaN here, and -0 does not equal 0.
        one, other = (np.ascontiguousarray(t.read(start, min(start + rows, count))).view(np.uint8) for t in (a, b))
        if not np.array_equal(one, other):
            return False
    return True


@dataclass(frozen=True)
class Cut:
    """One weight in a stored tensor.

    Attributes:
      tensor: what is stored.
      layout: how each weight in it lies.
      expert: which entry of the first axis, for stacked tensors.
      rows: outputs begin:end of each group, for weights fused along the outputs.
      groups: into how many equal groups the outputs fall; one where the fused weights lie end to end.
    """

    tensor: Tensor
    layout: Layout
    expert: int | None = None
    rows: tuple[int, int] | None = None
    groups: int = 1

    @property
    def _axis(self) -> int:
        return 1 if self.layout == "conv1d" else 0

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the weight as it lies in the tensor."""
        shape = list(self.tensor.shape if self.expert is None else self.tensor.shape[1:])
        if self.rows:
            shape[self._axis] = self.groups * (self.rows[1] - self.rows[0])
        return tuple(shape)

    @property
    def leaf_shape(self) -> tuple[int, ...]:
        """Shape of the leaf: kernels are (in, out), tables (entries, d)."""
        return self.stored_shape[::-1] if self.layout == "linear" else self.stored_shape

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Shape of W, (out, in)."""
        outputs, inputs = self.stored_shape if self.layout == "linear" else self.stored_shape[::-1]
        return outputs, inputs

    def _read(self) -> np.ndarray:
        if self.expert is not None:
            stored = self.tensor.read(self.expert, self.expert + 1)[0]
            return self._share(stored).reshape(self.stored_shape)
        if self.rows and self.groups == 1 and self._axis == 0:
            return self.tensor.read(*self.rows)  # no more than the share leaves the file
        return self._share(self.tensor.read()).reshape(self.stored_shape)

    def _share(self, stored: np.ndarray) -> np.ndarray:
        """This weight's part of a stored weight, a view; its outputs on two axes, the groups and what is in them."""
        if self.rows is None:
            return stored
        axis = self._axis
        split = stored.reshape(*stored.shape[:axis], self.groups, -1, *stored.shape[axis + 1 :])
        return split[(slice(None),) * (axis + 1) + (slice(*self.rows),)]

    def read_leaf(self) -> np.ndarray:
        """The leaf of the pytree, in the stored dtype."""
        weight = self._read()
        return weight.T if self.layout == "linear" else weight

    def read_matrix(self) -> np.ndarray:
        """W, (out, in): the transpose of the leaf."""
        weight = self._read()
        return weight if self.layout == "linear" else weight.T

    def as_matrix(
        self,
        name: str,
        what: tuple[str, int | None, int | None],
        *,
        guessed: bool,
        path: str = "",
        index: int | None = None,
        transposed: bool = False,
        tower: str = "",
    ) -> "Matrix":
        """This weight as the sweep sees it; `what` is its role, block and expert, for the rest see `Matrix`."""
        role, block, expert = what
        dtype, file = self.tensor.dtype, self.tensor.file
        shape, reader = self.matrix_shape, self.read_matrix
        where = file, expert, path, index, transposed
        return Matrix(name, role, block, shape, dtype, guessed, (), *where, reader, tower)

    def put_matrix(self, stored: np.ndarray, matrix: np.ndarray) -> None:
        """Writes W back to its place in `stored`, an array of the whole tensor, which is changed."""
        weight = matrix if self.layout == "linear" else matrix.T
        whole = stored if self.expert is None else stored[self.expert]
        share = self._share(whole)  # a view of the whole
        share[...] = weight.reshape(share.shape)


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
      tower: the stack that it stands in, where the model has several: "encoder", "decoder", "vision", "text", "audio";
        "decoder.cross" for a decoder's attention to an encoder. "" where the model is one stack, and for what its
        stacks share.
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
    tower: str = ""

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
