"""Is the mean of chosen entries larger than that of the others? A permutation test within groups."""

from collections.abc import Sequence

import numpy as np

_AT_ONCE = 2**22  # random numbers drawn together


def permutation_p(
    values: Sequence[np.ndarray], chosen: Sequence[np.ndarray], seed: int, num_draws: int = 1999
) -> float:
    """One-sided p-value that chosen entries are no larger than the others of their own group.

    The statistic is the sum over groups of sum over chosen (value - the group's mean); the null chooses as many entries
    of each group at random. Groups in which all or none are chosen say nothing.

    Args:
      values: a (b,) array a group; NaN entries are left out.
      chosen: a (b,) boolean array a group.
      seed: of the random choices.
      num_draws: how many; the p-value is (1 + #{null >= observed}) / (1 + num_draws).

    Returns:
      p; NaN where no group says anything.

    Raises:
      ValueError: shapes that do not agree.
    """
    rng = np.random.default_rng(seed)
    observed, null, informative = 0.0, np.zeros(num_draws), False
    for x, mask in zip(values, chosen, strict=True):
        x, mask = np.asarray(x, np.float64), np.asarray(mask, bool)
        if x.shape != mask.shape or x.ndim != 1:
            raise ValueError(f"values {x.shape} and chosen {mask.shape}: expected two vectors of one length")
        known = np.isfinite(x)
        x, mask = x[known], mask[known]
        count = int(mask.sum())
        if not 0 < count < len(x):
            continue
        informative = True
        x = x - x.mean()
        observed += x[mask].sum()
        null += _sums(x, count, num_draws, rng)
    # Equal sums differ by rounding, and must count as equal.
    slack = 1e-12 * (1 + abs(observed))
    return float((1 + np.sum(null >= observed - slack)) / (1 + num_draws)) if informative else float("nan")


def _sums(x: np.ndarray, count: int, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of `count` entries of x chosen at random without replacement, (num_draws,); x sums to zero."""
    small = min(count, len(x) - count)
    sums = np.empty(num_draws)
    step = max(1, _AT_ONCE // len(x))
    for start in range(0, num_draws, step):
        stop = min(start + step, num_draws)
        order = rng.random((stop - start, len(x)), np.float32).argpartition(small - 1, axis=1)
        sums[start:stop] = x[order[:, :small]].sum(axis=1)
    return sums if small == count else -sums
