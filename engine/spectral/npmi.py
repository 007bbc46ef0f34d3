"""Do tokens occur together in a text? Normalised pointwise mutual information, which no embedding chose.

    npmi(a, b) = ln(p_ab/(p_a p_b))/(-ln p_ab),

p the share of the text's windows that hold a token, or both: 1 for tokens that only come together, 0 for independent
ones, -1 for those that never meet.

Reference: G. Bouma, Normalized (pointwise) mutual information in collocation extraction, GSCL 2009; as the coherence of
word sets: J. H. Lau, D. Newman, T. Baldwin, EACL 2014.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

_AT_ONCE = 1 << 22  # pairs looked up together


@dataclass(frozen=True)
class Occurrences:
    """Which tokens a text's windows hold.

    Attributes:
      windows: how many there are.
      holding: (vocab,) windows that hold the token.
      together: (vocab, vocab) windows that hold both, sparse: only pairs that meet take room.
    """

    windows: int
    holding: NDArray[np.int64]
    together: scipy.sparse.csr_array


def occurrences(ids: NDArray, vocab: int, length: int = 16) -> Occurrences:
    """Count a text's tokens in consecutive windows.

    Args:
      ids: (N,) the text's tokens, in order.
      vocab: rows of the embedding.
      length: tokens of a window; the last one may be shorter.

    Raises:
      ValueError: no token, or ids beyond the vocabulary.
    """
    ids = np.asarray(ids)
    if ids.ndim != 1 or not ids.size or ids.min() < 0 or ids.max() >= vocab:
        raise ValueError(f"ids of shape {ids.shape}: expected a text's tokens, from 0 to {vocab - 1}")
    window = np.arange(ids.size) // length
    count = int(window[-1]) + 1
    holds = scipy.sparse.csr_array((np.ones(ids.size, np.int64), (window, ids)), shape=(count, vocab))
    holds.sum_duplicates()
    holds.data[:] = 1
    together = scipy.sparse.csr_array(holds.T @ holds)
    together.sort_indices()
    return Occurrences(count, np.asarray(holds.sum(axis=0)).ravel(), together)


def mean_npmi(seen: Occurrences, ids: NDArray) -> NDArray[np.float64]:
    """Mean over the pairs of each set's tokens.

    Args:
      ids: (N, k) tokens of N sets.

    Returns:
      (N,) in [-1, 1]. A token that the text does not hold says nothing, and its pairs are left out; NaN where no two of
      a set's tokens occur.
    """
    one, other = np.triu_indices(ids.shape[1], 1)
    step = max(1, _AT_ONCE // max(1, len(one)))
    parts = [_means(seen, ids[i : i + step], one, other) for i in range(0, len(ids), step)]
    return np.concatenate(parts) if parts else np.empty(0)


def _means(seen: Occurrences, ids: NDArray, one: NDArray, other: NDArray) -> NDArray[np.float64]:
    a, b = ids[:, one], ids[:, other]
    both = np.asarray(seen.together[a.ravel(), b.ravel()]).reshape(a.shape)
    p_a, p_b, p = seen.holding[a] / seen.windows, seen.holding[b] / seen.windows, both / seen.windows
    known = (p_a > 0) & (p_b > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(p == 0, -1.0, np.where(p == 1, 1.0, np.log(p / (p_a * p_b)) / -np.log(p)))
        return np.where(known, value, 0).sum(axis=1) / known.sum(axis=1)
