"""The grids of GGUF's types, without their packing written out a second time.

With every code at its lowest and at its highest, blocks dequantise to both ends of their grids; between them lie equal
steps. Where the codes lie among the bytes of a block is ggml's `block_q4_K` and its like
(https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h).
"""

from typing import Protocol

import numpy as np

from eigensweep.models.matrix import Rounding


class Packed(Protocol):
    """A stored tensor: blocks of `block` entries, `size` bytes each, in C order."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def block(self) -> int: ...
    @property
    def size(self) -> int: ...
    def packed(self, start: int, stop: int) -> np.ndarray: ...
    def dequantise(self, packed: np.ndarray) -> np.ndarray: ...


# type: (first and last byte of the codes, codes, entries that share a step)
_CODES = {
    "Q4_0": (2, 18, 16, 32), "Q4_1": (4, 20, 16, 32), "Q5_0": (2, 22, 32, 32), "Q5_1": (4, 24, 32, 32),
    "Q8_0": (2, 34, 256, 32), "Q2_K": (16, 80, 4, 16), "Q3_K": (0, 96, 8, 16), "Q4_K": (16, 144, 16, 32),
    "Q5_K": (16, 176, 32, 32), "Q6_K": (0, 192, 64, 16),
}  # fmt: skip


def rounding_of(said: str, stored: Packed) -> Rounding:
    """What a tensor of a type was rounded to; without a grid for types whose levels are not equally far apart."""
    if said not in _CODES:
        return Rounding(said)
    first_byte, last_byte, codes, size = _CODES[said]
    row = int(np.prod(stored.shape[1:], dtype=np.int64))

    def blocks(start: int, stop: int) -> np.ndarray:
        numbers = np.arange(start * row // size, stop * row // size, dtype=np.int32)
        return np.repeat(numbers, size).reshape(stop - start, *stored.shape[1:])

    def ends(packed: np.ndarray, low: int, high: int) -> list[np.ndarray]:
        result = []
        for byte in (low, high):
            packed[:, first_byte:last_byte] = byte
            result.append(stored.dequantise(packed).reshape(-1, size)[:, 0].copy())
        return result

    def steps(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        start, stop = first * size // row, -(-last * size // row)
        packed = stored.packed(start, stop).reshape(-1, stored.size)
        skipped = first - start * row // size
        low, high = (
            end[skipped : skipped + last - first] for end in ends(packed, 0x00, 0x7F if codes == 256 else 0xFF)
        )
        return (high - low) / np.float32(127 if codes == 256 else codes - 1), low

    levels = np.arange(-128 if codes == 256 else 0, 128 if codes == 256 else codes)
    return Rounding(said, levels.astype(np.float32), blocks, steps)
