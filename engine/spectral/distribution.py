"""What many numbers look like: moments and counts gathered in one pass, then quantiles, a histogram, fitted shapes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from eigensweep.engine.spectral import log_histogram, shapes
from eigensweep.engine.spectral.moments import Moments, merge, moments, pooled

LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
_CHUNK = 1 << 20  # numbers taken together; fixed, so that the sums are the same whoever counts
_ROBUST = 1.3489795003921634  # interquartile range of a standard normal distribution


@dataclass(frozen=True)
class Distribution:
    """Numbers seen so far.

    Attributes:
      parts: moments of each dimension, (d,); (1,) where numbers have none.
      counts: of all together, see `log_histogram`.
    """

    parts: Moments
    counts: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Self:
        """The entries of an array, chunk by chunk. Infinite ones and NaN are counted and otherwise left out."""
        total, counts = None, log_histogram.zero()
        flat = np.asarray(x).reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            chunk = flat[start : start + _CHUNK].astype(np.float32)
            counts += log_histogram.count(chunk)
            found = moments(chunk[:, None], np.isfinite(chunk))
            total = found if total is None else merge(total, found)
        return cls(total if total is not None else moments(np.zeros((0, 1)), np.zeros(0, bool)), counts)

    @classmethod
    def of_rows(cls, x: Any, mask: Any) -> Self:
        """Activations of rows of tokens, merged row by row: batches of any size end with the same sums.

        Args:
          x: (B, T, d), of NumPy or JAX.
          mask: (B, T), true for tokens.
        """
        found = Moments(*(np.asarray(part) for part in moments(x, mask)))
        total = Moments(*(part[0] for part in found))
        for row in range(1, len(found.count)):
            total = merge(total, Moments(*(part[row] for part in found)))
        return cls(total, log_histogram.count(x, mask))

    def merged(self, other: Self) -> Self:
        """The numbers of both."""
        return type(self)(merge(self.parts, other.parts), self.counts + other.counts)

    @cached_property
    def all(self) -> Moments:
        """Moments of all dimensions together, ()."""
        return pooled(self.parts)

    @cached_property
    def ordered(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges and counts of the fine grid."""
        return log_histogram.ordered(self.counts)

    def quantiles(self, levels: Any = LEVELS) -> np.ndarray:
        """To the grid's width, 1/128 of their size; NaN without data."""
        return log_histogram.quantiles(*self.ordered, levels, float(self.all.low), float(self.all.high))

    @cached_property
    def centre(self) -> tuple[float, float]:
        """Median and interquartile range / 1.349; the standard deviation where half of the numbers are alike."""
        low, median, high = self.quantiles((0.25, 0.5, 0.75))
        spread = (high - low) / _ROBUST
        return float(median), float(spread if spread > 0 else self.all.sd)

    @cached_property
    def histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges and counts on a symmetric-log grid about the median."""
        return log_histogram.joined(*self.ordered, *self.centre)

    @cached_property
    def fits(self) -> dict[str, shapes.Fit]:
        """Of every law of `shapes.LAWS`."""
        return shapes.fits(*self.histogram, *self.centre)

    @cached_property
    def tail(self) -> shapes.Tail:
        """How it falls far out."""
        return shapes.tail(*self.histogram, self.centre[0])
