"""A mean over a few independent runs with Student's interval."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent values and its interval, mean -+ t sd / sqrt(n) with n - 1 degrees of freedom.

    The interval covers what makes the values differ, for instance the seeds of a training, and supposes them normal.

    Returns:
      (mean, low, high); low and high are NaN for a single value, all three for none.
    """
    x = np.asarray(values, np.float64)
    if not x.size:
        return math.nan, math.nan, math.nan
    mean = float(x.mean())
    if x.size == 1:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf((1 + confidence) / 2, x.size - 1) * x.std(ddof=1) / math.sqrt(x.size))
    return mean, mean - half, mean + half
