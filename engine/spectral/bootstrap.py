"""Paired bootstrap: how sure is a change of a weighted mean over rows that both measurements share?"""

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 22  # drawn counts held at a time


def paired_interval(
    difference: NDArray, weight: NDArray, seed: int, num_resamples: int = 2000, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The mean change and its percentile interval.

        change = sum w_i d_i / sum w_i,    d_i = after_i - before_i,

    over rows i drawn with replacement. Pairing takes out what makes rows differ from one another; the interval covers
    the choice of rows, for the one model at hand. The same seed draws the same rows for every difference of N rows.

    Args:
      difference: (N,) d_i.
      weight: (N,) w_i >= 0, not all zero.
      seed: of the resampling.
      num_resamples: number of bootstrap samples.
      confidence: of the interval, in (0, 1).

    Returns:
      (change, low, high); low and high are NaN where a difference is not finite.

    Raises:
      ValueError: shapes differ, or no weight is positive.

    Reference: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    difference, weight = np.asarray(difference, np.float64), np.asarray(weight, np.float64)
    if difference.shape != weight.shape or difference.ndim != 1:
        raise ValueError(f"expected two vectors of one length, got shapes {difference.shape} and {weight.shape}")
    if not weight.sum() > 0 or (weight < 0).any():
        raise ValueError("weight: expected none below 0 and at least one above")
    num = difference.size
    rng = np.random.default_rng(seed)
    with np.errstate(invalid="ignore"):  # of infinite differences
        weighted = weight * difference
        mean = float(weighted.sum() / weight.sum())
    if not np.isfinite(difference).all():
        return mean, float("nan"), float("nan")
    means = np.empty(num_resamples)
    step = max(1, _CHUNK // num)
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        counts = rng.multinomial(num, np.full(num, 1 / num), size)
        total = counts @ weight
        # rows without weight alone (a row that scores nothing) tell nothing: such a sample repeats the mean
        means[start : start + size] = np.divide(counts @ weighted, total, out=np.full(size, mean), where=total > 0)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return mean, float(low), float(high)
