"""The smallest singular values of a matrix: how many make up a share of their number, or of their sum.

    by "values"   k = round(p b),  halves to the even number
    by "mass"     k the largest number with  sum of the k smallest s  <=  p sum of all s

b singular values s in descending order; without the k smallest the matrix is the best approximation of rank b - k.
"""

import numpy as np
from numpy.typing import NDArray

KINDS = ("values", "mass")


def num_smallest(s: NDArray, share: float, by: str) -> int:
    """How many of the smallest singular values make up a share.

    Args:
      s: (b,), descending, none negative.
      share: p, from 0 to 1.
      by: one of KINDS.

    >>> num_smallest(np.array([6.0, 3.0, 1.0]), 0.4, "mass")
    2
    """
    if by not in KINDS or not 0 <= share <= 1:
        raise ValueError(f"share {share} by {by!r}; expected 0 to 1 by {' or '.join(KINDS)}")
    if by == "values":
        return round(share * s.size)
    rising = np.cumsum(np.asarray(s, np.float64)[::-1])
    # rounding must not cost a value of a sum that is met exactly
    return int(np.searchsorted(rising, share * rising[-1] * (1 + 1e-12), side="right"))


def without_smallest(u: NDArray, s: NDArray, vt: NDArray, num: int) -> NDArray:
    """The matrix (m, n), float64, without its `num` smallest singular values; u (m, b), s (b,), vt (b, n)."""
    rank = s.size - num
    return (u[:, :rank] * s[:rank]) @ vt[:rank]
