"""Which singular vectors a noisy matrix determines, and which only span a space together.

Noise N of entries sigma turns vectors i and j of W towards each other by about (s_i u_i^T N v_j + s_j u_j^T N v_i) /
(s_i^2 - s_j^2), standard deviation sigma/(sqrt(2) (s_i - s_j)): half a radian where the gap is sqrt(2) sigma. Closer
ones are a group of which the span is determined, not the vectors.

Of a product W = L R with noise in both factors, u_i^T (N_L R + L N_R) v_j has the variance sigma_L^2 |R v_j|^2 +
sigma_R^2 |L^T u_i|^2, which stands in for sigma^2; here the mean of both orders of i and j.
"""

from typing import NamedTuple

import numpy as np


class Spans(NamedTuple):
    """Of the k singular values of B matrices.

    Attributes:
      gap: (B, k) distance to the nearest neighbour; NaN where there is none.
      least: (B, k) the gap to that neighbour with which noise turns them by half a radian; NaN likewise.
      group: (B, k) int, index of the first vector of the run whose gaps are all below, counted from 1.
      size: (B, k) int, vectors in that run: 1 for a vector that stands alone.
    """

    gap: np.ndarray
    least: np.ndarray
    group: np.ndarray
    size: np.ndarray


def product_noise(left: np.ndarray, right: np.ndarray, sigma_left: np.ndarray, sigma_right: np.ndarray) -> np.ndarray:
    """(B, k - 1) sigma of neighbours i and i + 1 of products, see the module.

    Args:
      left, right: (B, k) |L^T u_i| and |R v_i|, of `factored.product_svd`.
      sigma_left, sigma_right: (B,) of the entries of the factors.
    """
    variance = np.square(sigma_left[:, None] * right) + np.square(sigma_right[:, None] * left)
    return np.sqrt((variance[:, 1:] + variance[:, :-1]) / 2)


def spans(s: np.ndarray, sigma: np.ndarray, rank: np.ndarray) -> Spans:
    """Gaps and groups. Where sigma is not known (NaN), nothing is taken for determined: one group.

    Args:
      s: (B, k) descending.
      sigma: (B, k - 1) of each pair of neighbours, or (B, 1) of the matrix.
      rank: (B,) numerical rank; vectors beyond it have NaN, and are groups of their own.
    """
    batch, k = s.shape
    within = np.arange(k) < rank[:, None]
    pairs = within[:, 1:]
    apart = np.where(pairs, -np.diff(s, axis=1), np.nan)
    least = np.where(pairs, np.sqrt(2) * np.broadcast_to(sigma, (batch, max(k - 1, 0))), np.nan)
    none = np.full((batch, 1), np.nan)
    before, after = np.concatenate([none, apart], axis=1), np.concatenate([apart, none], axis=1)
    nearer = np.where(np.isnan(after), True, before < after)  # the neighbour before is the nearest
    gap = np.where(nearer, before, after)
    bound = np.where(nearer, np.concatenate([none, least], axis=1), np.concatenate([least, none], axis=1))
    begins = np.ones((batch, k), bool)
    begins[:, 1:] = ~pairs | (apart >= least)
    run = np.cumsum(begins, axis=1)
    group = np.maximum.accumulate(np.where(begins, np.arange(1, k + 1), 0), axis=1)
    size = np.stack([np.bincount(of, minlength=k + 1)[of] for of in run]) if batch else np.zeros((0, k), int)
    return Spans(gap, bound, group, size)
