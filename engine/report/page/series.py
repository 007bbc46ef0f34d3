"""Series of numbers by index, many of one kind in a few arrays, thinned where there is no room for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

FINE, COARSE = 3000, 12  # codes a unit of -ln p, in 16 and in 8 bits: 1e-9 is at 62,170 and at 249


@dataclass
class Series:
    """Series one after another: of each its indices, which of them must stay, and what stands there.

    Attributes:
      indices, specials, numbers: per series (K,): ascending indices, whether they must stay, values to encode.
      means: per series (K,) in [0, 1], local averages, needed where the series is thinned; or empty.
    """

    indices: list[np.ndarray] = field(default_factory=list)
    specials: list[np.ndarray] = field(default_factory=list)
    numbers: list[np.ndarray] = field(default_factory=list)
    means: list[np.ndarray] = field(default_factory=list)

    def add(self, index: np.ndarray, special: np.ndarray, numbers: np.ndarray, mean: np.ndarray | None = None) -> None:
        """One more."""
        self.indices.append(index)
        self.specials.append(special)
        self.numbers.append(numbers)
        self.means.append(np.empty(0) if mean is None else mean)

    def kept(self, points: int) -> list[np.ndarray]:
        """The places that stay: all of a series of at most `points`, else the special ones and an even choice."""
        return [_kept(special, points) for special in self.specials]

    def placed(self, kept: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """How many indices each keeps, and the steps between them, the first from -1."""
        steps = [np.diff(index[keep], prepend=-1) for index, keep in zip(self.indices, kept, strict=True)]
        step = joined(steps, np.int64)
        return {
            "count": np.array([keep.size for keep in kept], np.uint32),
            "step": step.astype(np.uint8 if step.max(initial=0) < 256 else np.uint32),
        }

    def averages(self, kept: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """255 times the averages of the thinned series, and where they begin, from 1 (0: all of a series is there)."""
        means = [
            mean[keep if keep.size < index.size else slice(0, 0)]
            for mean, keep, index in zip(self.means, kept, self.indices, strict=True)
        ]
        sizes = np.array([mean.size for mean in means], np.int64)
        starts = np.cumsum(sizes) - sizes + 1
        return {
            "thinned": np.where(sizes > 0, starts, 0).astype(np.uint32),
            "mean": np.rint(255 * np.clip(np.nan_to_num(joined(means, np.float64), nan=0.5), 0, 1)).astype(np.uint8),
        }


def _kept(special: np.ndarray, points: int) -> np.ndarray:
    if special.size <= points:
        return np.arange(special.size)
    chosen = special.copy()
    chosen[np.linspace(0, special.size - 1, points).round().astype(int)] = True
    return np.flatnonzero(chosen)


def joined(arrays: Sequence[np.ndarray], kind: type) -> np.ndarray:
    """Arrays one after another; an empty one of this kind for none."""
    return np.concatenate([np.empty(0, kind), *arrays])


def p_codes(p: np.ndarray, rejected: np.ndarray, scale: int) -> tuple[np.ndarray, int]:
    """-ln p on a grid, and the code from which on they are rejected (one above all where none is).

    A p next to the threshold may share the code of a rejected one; it gets the code below.
    """
    codes = np.rint(-np.log(np.clip(p, 1e-9, 1)) * scale).astype(np.int64) + 1
    most = 65535 if scale == FINE else 255
    if not rejected.any():
        return codes, most
    cut = int(codes[rejected].min())
    codes[~rejected] = np.minimum(codes[~rejected], cut - 1)
    return codes, cut
