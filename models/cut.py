"""Cutting a stored tensor into the weights it holds, turning them, and the way back.

A stored tensor may hold several weights: fused along the outputs, end to end or alternating head by head, and
stacked over experts. `Cut` is one of them; it is read as the matrix W of y = W x, and as the leaf of the pytree.
"""

from dataclasses import dataclass

import numpy as np

from eigensweep.models.families.rules import Layout
from eigensweep.models.tensors import Tensor


@dataclass(frozen=True)
class Cut:
    """One weight in a stored tensor.

    Attributes:
      tensor: what is stored.
      layout: how each weight in it lies.
      expert: which entry of the first axis, for stacked tensors.
      rows: outputs begin:end, for weights fused end to end.
      by_head: (heads, shares, share), for weights whose outputs alternate as (heads, shares, head size).
    """

    tensor: Tensor
    layout: Layout
    expert: int | None = None
    rows: tuple[int, int] | None = None
    by_head: tuple[int, int, int] | None = None

    @property
    def _axis(self) -> int:
        return 1 if self.layout == "conv1d" else 0

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the weight as it lies in the tensor."""
        shape = list(self.tensor.shape if self.expert is None else self.tensor.shape[1:])
        if self.rows:
            shape[self._axis] = self.rows[1] - self.rows[0]
        if self.by_head:
            shape[self._axis] //= self.by_head[1]
        return tuple(shape)

    @property
    def leaf_shape(self) -> tuple[int, ...]:
        """Shape of the leaf: kernels are (in, out), tables (entries, d)."""
        return self.stored_shape[::-1] if self.layout == "linear" else self.stored_shape

    def _read(self) -> np.ndarray:
        if self.expert is not None:
            return self._share(self.tensor.read(self.expert, self.expert + 1)[0])
        if self.rows and self._axis == 0:
            return self.tensor.read(*self.rows)  # no more than the share leaves the file
        return self._share(self.tensor.read())

    def _share(self, stored: np.ndarray) -> np.ndarray:
        """This weight's part of a stored weight: a view, or a copy where the outputs alternate by head."""
        if self.rows:
            return stored[:, slice(*self.rows)] if self._axis else stored[slice(*self.rows)]
        if self.by_head:
            heads, shares, share = self.by_head
            return stored.reshape(heads, shares, -1, *stored.shape[1:])[:, share].reshape(
                -1, *stored.shape[1:]
            )
        return stored

    def leaf(self) -> np.ndarray:
        """The leaf of the pytree, in the stored dtype."""
        weight = self._read()
        return weight.T if self.layout == "linear" else weight

    def matrix(self) -> np.ndarray:
        """W, (out, in): the transpose of the leaf."""
        weight = self._read()
        return weight if self.layout == "linear" else weight.T

    def put_matrix(self, stored: np.ndarray, matrix: np.ndarray) -> None:
        """Writes W back to its place in `stored`, an array of the whole tensor, which is changed."""
        weight = matrix if self.layout == "linear" else matrix.T
        whole = stored if self.expert is None else stored[self.expert]
        if self.by_head:
            heads, shares, share = self.by_head
            whole.reshape(heads, shares, -1, *whole.shape[1:])[:, share] = weight.reshape(
                heads, -1, *weight.shape[1:]
            )
        elif self.rows:
            np.moveaxis(whole, self._axis, 0)[slice(*self.rows)] = np.moveaxis(weight, self._axis, 0)
        else:
            whole[...] = weight
