"""A stored tensor that is read when its turn comes, by ranges of its first axis."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

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
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.size * np.dtype(self.dtype).itemsize


def same_content(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bytes; reads both in chunks and stops at the first difference."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    rows = max(1, _CHUNK_BYTES * (a.shape[0] if a.shape else 1) // max(a.nbytes, 1))
    for start in range(0, a.shape[0] if a.shape else 1, rows):
        stop = start + rows if not a.shape else min(start + rows, a.shape[0])
        # As bytes: NaN equals NaN here, and -0 does not equal 0.
        one, other = (np.ascontiguousarray(t.read(start, stop)).view(np.uint8) for t in (a, b))
        if not np.array_equal(one, other):
            return False
    return True
