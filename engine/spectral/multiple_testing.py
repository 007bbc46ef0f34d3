"""Benjamini-Hochberg: which of many p-values to reject with the false discovery rate held at a level."""

import numpy as np


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
        ordered = _ordered(p[family])
        below = np.flatnonzero(ordered <= level * np.arange(1, ordered.size + 1) / ordered.size)
        if below.size:
            rejected[family] = p[family] <= ordered[below[-1]]
    return rejected


def simes(p: np.ndarray) -> float:
    """One p-value of a family's global null, min_i N p_(i)/i: at most `level` where Benjamini-Hochberg rejects any.

    Args:
      p: (N,); NaN does not count.

    Returns:
      NaN where no p is known.

    Reference: R. J. Simes, Biometrika 73 (1986) 751.
    """
    ordered = _ordered(p)
    return float(np.min(ordered * ordered.size / np.arange(1, ordered.size + 1), initial=1)) if ordered.size else np.nan


def _ordered(p: np.ndarray) -> np.ndarray:
    """What is known of p, ascending."""
    known = np.sort(p[~np.isnan(p)])
    if known.size and not (known[0] >= 0 and known[-1] <= 1):
        raise ValueError(f"p-values from {known[0]} to {known[-1]}: expected numbers between 0 and 1")
    return known
