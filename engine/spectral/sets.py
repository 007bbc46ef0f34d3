"""Two sets of the same d things: how much they share, and what chance would give."""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Overlap(NamedTuple):
    """Of sets with a and b of d members.

    Attributes:
      both: members of both.
      jaccard: both / (a + b - both); NaN where both sets are empty.
      chance: its expectation where the sets are drawn at random, their sizes kept.
      p: P(as many in both, or more) then: hypergeometric, exact.
    """

    both: int
    jaccard: float
    chance: float
    p: float


def overlap(one: np.ndarray, other: np.ndarray) -> Overlap:
    """Of two (d,) boolean arrays.

    Raises:
      ValueError: they are of different lengths.
    """
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"expected two vectors of one length, got shapes {one.shape} and {other.shape}")
    d, a, b, both = one.size, int(one.sum()), int(other.sum()), int((one & other).sum())
    if not a + b:
        return Overlap(0, np.nan, np.nan, 1.0)
    law, shared = stats.hypergeom(d, a, b), np.arange(max(0, a + b - d), min(a, b) + 1)
    chance = float(law.pmf(shared) @ (shared / (a + b - shared)))
    return Overlap(both, both / (a + b - both), chance, float(law.sf(both - 1)))
