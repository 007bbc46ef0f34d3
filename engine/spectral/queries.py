"""A query of tokens as a direction: columns of the pseudo-inverse of the unembedding, through its Gram matrix."""

from collections.abc import Iterable

import numpy as np

SIGMAS = 4.8
"""Standard deviations of a random cosine, which is about 1/sqrt(d), beyond which a hit lies: the 0.15 of Millidge and
Black (2022) at d = 1024."""


def threshold(d: int, sigmas: float = SIGMAS) -> float:
    """The cosine beyond which a direction in d dimensions is a hit: sigmas/sqrt(d).

    >>> threshold(1024)
    0.15
    """
    return sigmas / d**0.5


def gram(parts: Iterable[np.ndarray]) -> np.ndarray:
    """U^T U, (d, d) float64, from U (vocab, d) in parts of rows."""
    total: np.ndarray | float = 0.0
    for part in parts:
        rows = part.astype(np.float64)
        total = total + rows.T @ rows
    return np.asarray(total)


def pinv_of_gram(gram: np.ndarray, eps: float = float(np.finfo(np.float32).eps)) -> np.ndarray:
    """(U^T U)^+, so that pinv(U) e_t = (U^T U)^+ U_t, U_t the row of token t.

    Eigenvalues below the largest one times eps d are left out: of a table stored in float32 they are rounding.
    """
    values, vectors = np.linalg.eigh(gram)
    kept = values > values[-1] * eps * len(values)
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., d) over their lengths; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors, dtype=np.float64), where=lengths > 0)
