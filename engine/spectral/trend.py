"""Trends over depth: the slope of a measure's logarithm against relative depth, with its interval."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class Trend(NamedTuple):
    """Slope of ln y from the first block (depth 0) to the last (1), and its interval; NaN below three blocks.

    e^slope is the factor from the first block to the last.
    """

    slope: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """grows or falls, where the interval excludes 0; "" elsewhere."""
        return "grows" if self.low > 0 else "falls" if self.high < 0 else ""


def log_trend(depth: ArrayLike, values: ArrayLike, confidence: float = 0.95) -> Trend:
    """Least squares of ln values on relative depth, (depth - least)/(most - least), with Student's interval.

    The interval supposes that what blocks have beside the line is independent of their neighbours' and of one size.

    Args:
      depth: (B,) numbers of blocks, not all the same.
      values: (B,) above zero; others are left out.
      confidence: of the interval.
    """
    depth, values = np.asarray(depth, np.float64), np.asarray(values, np.float64)
    known = np.isfinite(values) & (values > 0)
    if known.sum() < 3 or np.ptp(depth[known]) == 0:
        return Trend(*[float("nan")] * 3)
    relative = (depth - depth.min()) / np.ptp(depth)
    line = stats.linregress(relative[known], np.log(values[known]))
    half = stats.t.ppf((1 + confidence) / 2, known.sum() - 2) * line.stderr
    return Trend(float(line.slope), float(line.slope - half), float(line.slope + half))
