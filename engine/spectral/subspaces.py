"""Principal angles between subspaces, and what they are for random ones.

References: Å. Björck, G. H. Golub, Numerical methods for computing angles between linear subspaces, 1973 (the angles);
R. J. Muirhead, Aspects of Multivariate Statistical Theory, 1982, theorem 3.3.3 (their law for random subspaces).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

NUM_DRAWS = 10_000
_MOST_NUMBERS = 1 << 22  # drawn at a time


def principal_angles(a: NDArray, b: NDArray) -> NDArray:
    """The principal angles between two subspaces, ascending.

    theta_i = arccos sigma_i(A B^T), and the arcsine of the singular values of B - B A^T A where that is more accurate,
    below 45 degrees.

    Args:
      a, b: (k, n) and (l, n) orthonormal rows.

    Returns:
      (min(k, l),) float64, in radians, from 0 to pi/2.
    """
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"subspaces of one space are expected, got vectors of {a.shape[-1]} and {b.shape[-1]} entries")
    if len(b) > len(a):
        a, b = b, a
    within = b @ a.T
    cosine = np.clip(np.linalg.svd(within, compute_uv=False), 0.0, 1.0)
    sine = np.clip(np.linalg.svd(b - within @ a, compute_uv=False)[::-1], 0.0, 1.0)
    return np.where(cosine**2 >= 0.5, np.arcsin(sine), np.arccos(cosine))


def overlap(angles: NDArray) -> float:
    """The mean of cos^2 over principal angles: 1 for the same subspace, k/n on average for random ones of R^n."""
    return float(np.mean(np.cos(angles) ** 2))


@lru_cache(maxsize=64)
def null_cosines(k: int, n: int, num_draws: int = NUM_DRAWS, seed: int = 0) -> NDArray:
    """Squared cosines of the principal angles between random k-dimensional subspaces of R^n, drawn.

    They are the eigenvalues of (A + B)^-1 A for Wishart matrices A and B of k and n - k degrees of freedom, each drawn
    as a k x k factor.

    Args:
      k, n: 1 <= k <= n/2.
      num_draws: rows to draw.
      seed: of the draws.

    Returns:
      (num_draws, k) float64, descending in a row.
    """
    if not 1 <= k <= n / 2:
        raise ValueError(f"k = {k} of n = {n}: expected 1 <= k <= n/2")
    rng = np.random.default_rng([seed, k, n])
    first = rng.standard_normal((num_draws, k, k))
    # Bartlett: the Cholesky factor of a Wishart matrix has independent entries
    second = np.tril(rng.standard_normal((num_draws, k, k)), -1)
    second[:, np.arange(k), np.arange(k)] = np.sqrt(rng.chisquare(n - k - np.arange(k), (num_draws, k)))
    a, b = (x @ x.swapaxes(1, 2) for x in (first, second))
    root = np.linalg.inv(np.linalg.cholesky(a + b))
    return np.clip(np.linalg.eigvalsh(root @ a @ root.swapaxes(1, 2))[:, ::-1], 0.0, 1.0)


def _null_overlaps(k: int, n: int) -> NDArray:
    """Overlaps of random subspaces; of many dimensions fewer are drawn."""
    return null_cosines(k, n, min(NUM_DRAWS, _MOST_NUMBERS // k**2)).mean(axis=1)


def null_quantile(level: float, k: int, n: int) -> float:
    """The overlap that random k-dimensional subspaces of R^n stay below with probability `level`."""
    return float(np.quantile(_null_overlaps(k, n), level))


def overlap_p(value: float, k: int, n: int) -> float:
    """The chance that random subspaces overlap as much: (1 + draws that do)/(1 + draws)."""
    drawn = _null_overlaps(k, n)
    return float((1 + np.sum(drawn >= value)) / (1 + drawn.size))
