"""From a stored tensor to an oriented matrix: what the sweep gets, and what was left out and why.

A `Tensor` is read when its turn comes, by ranges of its first axis. It may hold several weights: fused along the
outputs, end to end or alternating head by head, and stacked over experts. A `Cut` is one of them, read as the matrix
W of y = W x or as the leaf of the pytree, and put back again. A `Matrix` is what the sweep sees of it.
"""

import hashlib
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from eigensweep.models.families.rules import Layout

FLOATING = ("bfloat16", "float16", "float32", "float64")
"""The dtypes that a sweep can take as they are. Narrower floats mean nothing without their scales."""

PACKED = ("float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn")
"""Dtypes of parts of a byte. Tensors of them are named and left out, not read."""

_CHUNK_BYTES = 1 << 24
PEEK = 4096  # bytes of a tensor that tell it from another


class Grid(NamedTuple):
    """What the entries of an (m, n) matrix were rounded to: offsets[g] + steps[g] levels in the block g of an entry.

    `blocks` (m, n) numbers the blocks from 0; `steps` and `offsets` (G,) are float32; `levels` (K,) ascend.
    """

    blocks: np.ndarray
    steps: np.ndarray
    offsets: np.ndarray
    levels: np.ndarray


@dataclass(frozen=True)
class Rounding:
    """How the entries of a quantised tensor were rounded.

    Attributes:
      said: for people, "fp8 e4m3, 128x128 blocks".
      levels: what a code stands for, in steps, ascending; None where the format has no such grid.
      blocks: blocks(start, stop) is the number of the block of each entry of the rows start to stop.
      steps: steps(first, last) are the steps and offsets (float32) of the blocks first to last.
    """

    said: str
    levels: np.ndarray | None = None
    blocks: Callable[[int, int], np.ndarray] | None = None
    steps: Callable[[int, int], tuple[np.ndarray, np.ndarray]] | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor under its name in the source. `reader(start, stop)` reads rows; a scalar counts as one row.

    A quantised weight is one tensor, too: `reader` gives its rows dequantised, `rounding` says what they were.
    Where a tensor's file is not here yet, `first()` gives its first bytes, at most PEEK, without bringing the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: str
    reader: Callable[[int, int], np.ndarray] = field(repr=False, compare=False)
    rounding: Rounding | None = field(default=None, repr=False, compare=False)
    first: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop (all by default) in the stored dtype."""
        if not self.shape:
            return self.reader(0, 1).reshape(())
        return self.reader(start, self.shape[0] if stop is None else stop)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def _chunks(tensor: Tensor) -> Iterator[bytes]:
    # As bytes: NaN equals NaN here, and -0 does not equal 0.
    count = tensor.shape[0] if tensor.shape else 1
    rows = max(1, _CHUNK_BYTES * count // max(tensor.nbytes, 1))
    for start in range(0, count if tensor.nbytes else 0, rows):
        yield tensor.read(start, min(start + rows, count)).tobytes()


def same_content(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bytes; reads both in chunks and stops at the first difference."""
    if a.shape != b.shape or a.dtype != b.dtype or a.dtype in PACKED:
        return False
    if a.first and b.first and a.first() != b.first():
        return False
    return all(one == other for one, other in zip(_chunks(a), _chunks(b), strict=True))


def _beginning(tensor: Tensor) -> bytes:
    """The first bytes, which tell most tensors from others."""
    return tensor.first() if tensor.first else next(_chunks(tensor), b"")[:PEEK]


def _digest(tensor: Tensor) -> bytes:
    digest = hashlib.sha256()
    for chunk in _chunks(tensor):
        digest.update(chunk)
    return digest.digest()


def same_contents(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Groups of two or more tensors that hold the same bytes, each group in the order given.

    Reads every tensor at most twice, however many there are, and one that differs at its beginning not further.
    """
    groups: list[list[Tensor]] = [[tensor for tensor in tensors if tensor.dtype not in PACKED]]
    keys: tuple[Callable[[Tensor], Hashable], ...] = (lambda tensor: (tensor.shape, tensor.dtype), _beginning, _digest)
    for key in keys:
        finer: dict[tuple[int, Hashable], list[Tensor]] = {}
        for i, group in enumerate(groups):
            for tensor in group:
                finer.setdefault((i, key(tensor)), []).append(tensor)
        groups = [group for group in finer.values() if len(group) > 1]
    return groups


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
        return tuple(shape[-2:] if self.layout == "embedding" else shape)  # tables may stand behind axes of 1

    @property
    def leaf_shape(self) -> tuple[int, ...]:
        """Shape of the leaf: kernels are (in, out), of convolutions (in * taps, out); tables (entries, d)."""
        return self.stored_shape if self.layout == "vector" else self.matrix_shape[::-1]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Shape of W, (out, in)."""
        shape = self.stored_shape
        match self.layout:
            case "convolution":
                return shape[0], math.prod(shape[1:])
            case "head_outputs":
                heads, inputs, head = shape
                return heads * head, inputs
            case "head_inputs":
                heads, head, outputs = shape
                return outputs, heads * head
        outputs, inputs = shape if self.layout == "linear" else shape[::-1]
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
        return self._read() if self.layout == "vector" else self.read_matrix().T

    def read_matrix(self) -> np.ndarray:
        """W, (out, in): the transpose of the leaf."""
        return self._turned(self._read()).reshape(self.matrix_shape)

    def _turned(self, weight: np.ndarray) -> np.ndarray:
        """A stored weight, its outputs before its inputs; a view."""
        match self.layout:
            case "conv1d" | "embedding":
                return weight.T
            case "head_outputs":
                return weight.swapaxes(1, 2)
            case "head_inputs":
                return np.moveaxis(weight, 2, 0)
        return weight

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
        rounding = self.tensor.rounding
        said = rounding.said if rounding else ""
        grid = self.read_grid if rounding and rounding.levels is not None else None
        where = file, expert, path, index, transposed
        return Matrix(name, role, block, shape, dtype, guessed, (), *where, reader, tower, said, grid)

    def read_grid(self) -> Grid:
        """The grid that W's entries were rounded to; of a tensor whose `rounding` has levels."""
        rounding = self.tensor.rounding
        assert rounding is not None
        assert rounding.levels is not None
        assert rounding.blocks is not None
        assert rounding.steps is not None
        numbers = replace(self.tensor, reader=rounding.blocks, dtype="int32")
        blocks = replace(self, tensor=numbers).read_matrix()
        first = int(blocks.min()) if blocks.size else 0
        steps, offsets = rounding.steps(first, int(blocks.max()) + 1 if blocks.size else 0)
        return Grid(np.ascontiguousarray(blocks) - first, steps, offsets, rounding.levels)

    def put_matrix(self, stored: np.ndarray, matrix: np.ndarray) -> None:
        """Writes W back to its place in `stored`, an array of the whole tensor, which is changed."""
        whole = stored if self.expert is None else stored[self.expert]
        share = self._share(whole)  # a view of the whole
        weight = np.empty(self.stored_shape, matrix.dtype)
        turned = self._turned(weight)
        turned[...] = matrix.reshape(turned.shape)
        share[...] = weight.reshape(share.shape)

    def put_leaf(self, stored: np.ndarray, leaf: np.ndarray) -> None:
        """Writes the leaf of the pytree back to its place in `stored`, an array of the whole tensor."""
        if self.layout != "vector":
            return self.put_matrix(stored, leaf.T)
        share = self._share(stored if self.expert is None else stored[self.expert])
        share[...] = leaf.reshape(share.shape)
        return None


@dataclass(frozen=True)
class Matrix:
    """One weight matrix, oriented as y = W x, not yet read.

    Attributes:
      name: unique; the source tensor's own name, with `:query` for a part of a fused tensor, `[3]` for a slice of
        a stacked one, `:delta` for a LoRA update of that weight (`:lora` for DoRA's without the base), `:base` and
        `:merged` beside it where the base is at hand.
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
        "decoder.cross" for a decoder's attention to an encoder; of an adapter beside its base "base", "merged" and
        "delta", in a tower "text.base" and so on. "" where the model is one stack, and for what its
        stacks share.
      quantised: what it was stored as, where `read` dequantises it ("nf4, blocks of 64, nested"); else empty.
      grid: reads what its entries were rounded to; None where it was not, or to no grid of that kind.
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
    quantised: str = ""
    grid: Callable[[], Grid] | None = field(default=None, repr=False, compare=False)

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
