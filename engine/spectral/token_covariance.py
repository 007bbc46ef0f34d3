"""The token-token covariance of a data set: do the tokens of a sequence vary together, and how?

    C = mean over sequences of (c - mean c)(c - mean c)^T,    c (V,): how often each token stands in a sequence

(or whether it does). Its eigenvalues are the squared singular values of the centred counts (N, V) over sqrt(N). The
counts are sparse and stay so; the mean is taken off in every product. Where the smaller side is short the Gram matrix
of that side gives all values; beyond, Lanczos gives the largest.

A power law of these values may say no more than Zipf's: in a text without any order C is length (diag p - p p^T), whose
eigenvalues interlace length p. `shuffled` is that control, the same tokens dealt out at random.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator, svds

DENSE = 4096  # the shorter side of counts whose Gram matrix (128 MiB) is decomposed whole
METHODS = ("auto", "tokens", "sequences", "lanczos")


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of C.

    Attributes:
      evals: (K,) float64, descending; the largest where `method` is "lanczos", else all that can be above zero.
      total: trace of C, of which they are shares.
      method: what gave them.
    """

    evals: NDArray
    total: float
    method: str

    @property
    def least(self) -> float:
        """Below it an eigenvalue is rounding."""
        return float(self.evals[0] * self.evals.size * np.finfo(np.float64).eps) if self.evals.size else 0.0


def token_counts(rows: ArrayLike, presence: bool = False) -> scipy.sparse.csr_array:
    """How often each token stands in each sequence.

    Args:
      rows: (N, T) token numbers, all sequences of one length.
      presence: whether it does, 0 or 1.

    Returns:
      (N, V) float64, V the different tokens there are, in ascending order.
    """
    rows = np.asarray(rows)
    _, place = np.unique(rows, return_inverse=True)
    place = place.reshape(rows.shape)
    start = np.arange(0, rows.size + 1, rows.shape[1])
    shape = (len(rows), int(place.max()) + 1)
    counts = scipy.sparse.csr_array((np.ones(rows.size), place.ravel(), start), shape=shape)
    counts.sum_duplicates()
    if presence:
        counts.data[:] = 1.0
    return counts


def shuffled(rows: ArrayLike, seed: int) -> NDArray:
    """The same tokens dealt out at random, (N, T): what their frequencies alone give."""
    rows = np.asarray(rows)
    return np.random.default_rng(seed).permutation(rows.ravel()).reshape(rows.shape)


def spectrum(counts: scipy.sparse.csr_array, top: int, seed: int, method: str = "auto") -> Spectrum:
    """The eigenvalues of the covariance of sparse counts.

    Args:
      counts: (N, V) of `token_counts`.
      top: how many of the largest Lanczos gives; the other ways give min(N - 1, V).
      seed: of Lanczos' first vector.
      method: "tokens" decomposes C (V, V), "sequences" its dual (N, N), "lanczos" neither. "auto": the shorter side's
        up to DENSE, Lanczos beyond.

    Raises:
      ValueError: unknown method, or fewer than two sequences.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: expected one of {', '.join(METHODS)}")
    num, vocab = counts.shape
    if num < 2:
        raise ValueError(f"{num} sequence: a covariance needs at least two")
    mean = np.asarray(counts.mean(axis=0)).ravel()
    total = float(counts.power(2).sum() / num - mean @ mean)
    if method == "auto":
        short = "sequences" if num <= vocab else "tokens"
        method = short if min(num, vocab) <= DENSE else "lanczos"
    if method == "lanczos":
        evals = _lanczos(counts, mean, min(top, min(counts.shape) - 1), seed)
    else:
        gram = _tokens(counts, mean) if method == "tokens" else _sequences(counts, mean)
        evals = scipy.linalg.eigvalsh(gram, overwrite_a=True, check_finite=False)[::-1]
    return Spectrum(np.maximum(evals[: min(num - 1, vocab)], 0.0), total, method)


def centred(counts: scipy.sparse.csr_array, mean: NDArray) -> LinearOperator:
    """(counts - 1 mean^T)/sqrt(N) as a product with vectors: the dense matrix is never formed."""
    scale = counts.shape[0] ** -0.5
    return LinearOperator(
        counts.shape,
        matvec=lambda x: scale * (counts @ x.ravel() - mean @ x.ravel()),
        rmatvec=lambda y: scale * (counts.T @ y.ravel() - mean * y.sum()),
        dtype=np.float64,
    )


def _lanczos(counts: scipy.sparse.csr_array, mean: NDArray, top: int, seed: int) -> NDArray:
    start = np.random.default_rng(seed).standard_normal(min(counts.shape))
    s = svds(centred(counts, mean), k=top, v0=start, return_singular_vectors=False)
    return np.sort(s)[::-1] ** 2


def _tokens(counts: scipy.sparse.csr_array, mean: NDArray) -> NDArray:
    return (counts.T @ counts).toarray() / counts.shape[0] - np.outer(mean, mean)


def _sequences(counts: scipy.sparse.csr_array, mean: NDArray) -> NDArray:
    """The dual: inner products of the centred sequences."""
    gram, along = (counts @ counts.T).toarray(), counts @ mean
    return (gram - along[:, None] - along + mean @ mean) / counts.shape[0]
