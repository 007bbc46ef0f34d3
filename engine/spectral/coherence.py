"""Do the top tokens of a direction hang together? Mean pairwise cosine of their descriptions, and its null.

A description is a vector a token that says what the token is, whatever direction chose it: rows of an embedding about
their mean, or a sentence encoder's vectors. The top tokens of *any* direction of the residual stream are chosen by a
projection of the embedding, so their rows agree more than those of tokens drawn at random: the null is the same
statistic for the singular vectors of Gaussian matrices that went through the same folding and projection (`frames`),
of which p is the share that is at least as coherent.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TINY = 1e-12  # of the largest norm: a row below it describes nothing


def descriptions(rows: ArrayLike) -> NDArray[np.float32]:
    """Rows (V, D) about their mean, each of length 1; a row that is the mean describes nothing and stays 0."""
    x = np.array(rows, np.float32)  # a copy, changed in place: tables of tokens are large
    x -= x.mean(axis=0, dtype=np.float64).astype(np.float32)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    known = norm > _TINY * norm.max(initial=0)
    x /= np.where(known, norm, 1)
    x *= known
    return x


def sums(described: NDArray, ids: NDArray) -> NDArray:
    """The sum of the descriptions of each direction's tokens: k times their centroid.

    Args:
      described: (V, D) unit rows, see `descriptions`.
      ids: (N, k) of the tokens of N directions.

    Returns:
      (N, D) in the dtype of `described`.
    """
    total = np.zeros((len(ids), described.shape[1]), described.dtype)
    for tokens in np.asarray(ids).T:  # one token of all directions at a time: never N x k x D
        total += described[tokens]
    return total


def mean_cosine(summed: ArrayLike, k: int) -> NDArray[np.float64]:
    """Mean cosine over the k (k - 1)/2 pairs of k unit vectors, from their sum S: (|S|^2 - k)/(k (k - 1)).

    Args:
      summed: (..., D), see `sums`.
      k: tokens in a sum, at least 2. Tokens that nothing describes count as orthogonal to all others, up to the
        1/(k - 1) that each of them takes off.

    Returns:
      (...), in [-1/(k - 1), 1].
    """
    if k < 2:
        raise ValueError(f"k = {k} tokens have no pairs: expected at least 2")
    s = np.asarray(summed, np.float64)
    return ((s * s).sum(axis=-1) - k) / (k * (k - 1))


def mean_cosine_between(summed: ArrayLike) -> float:
    """Mean cosine over all pairs of the N vectors (N, D), of any lengths; NaN below two vectors."""
    units = _units(summed)
    return float(mean_cosine(units.sum(axis=0), len(units))) if len(units) > 1 else float("nan")


def mean_cosine_across(groups: ArrayLike) -> NDArray[np.float64]:
    """For each of G groups of N vectors, the mean cosine of its vectors with those of all other groups.

    Args:
      groups: (G, N, D), of any lengths.

    Returns:
      (G,); NaN where there is one group only.
    """
    means = _units(groups).mean(axis=1)
    if len(means) < 2:
        return np.full(len(means), np.nan)
    others = (means.sum(axis=0) - means) / (len(means) - 1)
    return (means * others).sum(axis=-1)


def cosine(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Cosine of two arrays of vectors (..., D), place by place."""
    return (_units(one) * _units(other)).sum(axis=-1)


def _units(x: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(x, np.float64)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def exceedance(observed: ArrayLike, null: ArrayLike) -> NDArray[np.float64]:
    """p = (1 + #{null >= observed})/(1 + N), of N draws from the null: never above the level more often than it says.

    Nothing is extrapolated: p ends at 1/(1 + N). Benjamini-Hochberg over M tests at level q can reject R of them only
    where 1/(1 + N) <= q R/M, so N draws find what is coherent as soon as a share 1/(q (1 + N)) of the tests is.

    Args:
      observed: any shape; NaN gives NaN.
      null: (N,).
    """
    observed, null = np.asarray(observed, np.float64), np.sort(np.asarray(null, np.float64))
    above = null.size - np.searchsorted(null, observed, side="left")
    return np.where(np.isnan(observed), np.nan, (1 + above) / (1 + null.size))
