"""Do two judges agree beyond chance?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Kappa(NamedTuple):
    """Cohen's kappa with its interval, and what it is made of: both judgements' 2 x 2 counts."""

    value: float
    low: float
    high: float
    counts: tuple[tuple[int, int], tuple[int, int]]


def cohen_kappa(
    first: ArrayLike, second: ArrayLike, seed: int = 0, draws: int = 20_000, confidence: float = 0.95
) -> Kappa:
    """Agreement of two judges beyond chance.

        kappa = (p_o - p_e) / (1 - p_e),   p_o = p_11 + p_00,   p_e = p_1. p_.1 + p_0. p_.0

    Its interval holds the middle of kappa's distribution under the cells' posterior Dirichlet(n_ij + 1/2) (Jeffreys):
    the usual standard error is 0 where judges agree on everything, however few the items.

    Args:
      first, second: (N,) truth values of the same N items.
      seed: of the draws from the posterior.
      draws: their number.
      confidence: of the interval.

    Returns:
      NaNs for the value where one of them gave the same judgement to all, and both the same one; for all without items.

    Raises:
      ValueError: the numbers of judgements differ.

    Reference: J. Cohen, Educational and Psychological Measurement 20, 37 (1960).
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two vectors of one length, got shapes {a.shape} and {b.shape}")
    counts = np.array([[np.sum(~a & ~b), np.sum(~a & b)], [np.sum(a & ~b), np.sum(a & b)]])
    table = tuple(tuple(int(n) for n in row) for row in counts)
    if not a.size:
        return Kappa(np.nan, np.nan, np.nan, table)  # type: ignore[arg-type]
    posterior = np.random.default_rng(seed).dirichlet(counts.ravel() + 0.5, draws).reshape(-1, 2, 2)
    low, high = np.quantile(_kappa(posterior), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Kappa(float(_kappa(counts / a.size)), float(low), float(high), table)  # type: ignore[arg-type]


def _kappa(p: np.ndarray) -> np.ndarray:
    """Kappa of cells p (..., 2, 2) that sum to one."""
    observed = np.trace(p, axis1=-2, axis2=-1)
    by_chance = np.sum(p.sum(axis=-1) * p.sum(axis=-2), axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (observed - by_chance) / (1 - by_chance)
