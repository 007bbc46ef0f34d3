"""Benjamini-Hochberg: which of many p-values to reject with the false discovery rate held at a level."""

import numpy as np
from scipy.stats import false_discovery_control


def benjamini_hochberg(p: np.ndarray, level: float) -> np.ndarray:
    """Reject every p <= p_(k), k the largest rank with p_(k) <= level * k / N.

    Args:
      p: (..., N) p-values, a family on the last axis, in any order. NaN (not determined) is never rejected and does
        not count in N.
      level: false discovery rate, in (0, 1).

    Returns:
      (..., N) bool, True where rejected.

    Raises:
      ValueError: a p outside [0, 1].

    Reference: Benjamini & Hochberg, J. R. Stat. Soc. B 57 (1995) 289.
    """
    rejected = np.zeros(p.shape, bool)
    for family in np.ndindex(p.shape[:-1]):
        known = ~np.isnan(p[family])
        rejected[family][known] = false_discovery_control(p[family][known]) <= level
    return rejected


def simes(p: np.ndarray) -> float:
    """One p-value of a family's global null, min_i N p_(i)/i: at most `level` where Benjamini-Hochberg rejects any.

    Args:
      p: (N,); NaN does not count.

    Returns:
      NaN where no p is known.

    Reference: R. J. Simes, Biometrika 73 (1986) 751.
    """
    known = p[~np.isnan(p)]
    return float(np.min(false_discovery_control(known))) if known.size else float("nan")
