"""Singular value decomposition of one matrix whose long vectors do not fit in memory, say an embedding 128256 x 4096.

X (a, b), a >= b, is W or its transpose. Slab by slab of its rows, in float64:

    G = X^T X            b x b, its eigenvectors q_i are the short singular vectors, s_i^2 its eigenvalues
    p_i = X q_i          the long ones times s_i, a group of them at a time, handed on and forgotten

G squares the condition number, so what lies below `SMALL` * s_1 is decomposed again, from the Gram matrix of X on the
span of those q_i alone, and so on: each stage resolves two decades of s. Beside X as stored and matrices b x b, the
working memory is a few times `SLAB_BYTES` and `GROUP_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from eigensweep.engine.spectral.svd.accuracy import NUM_PROBES, gaussian_probes
from eigensweep.engine.spectral.svd.lapack import EPS, SMALL, MatrixSVD, failed

SLAB_BYTES = 1 << 27
GROUP_BYTES = 1 << 29


def streamed_svd(w: np.ndarray, take: Callable[[slice, np.ndarray], None]) -> MatrixSVD:
    """Thin SVD of a finite matrix W; the long side's vectors go to `take`, a group at a time.

    Args:
      w: (m, n) of any float dtype, min(m, n) > 0.
      take: called in order with the indices of a group and its vectors (len, max(m, n)) as contiguous rows, float64,
        which it may overwrite. Vectors of s = 0 are NaN: W does not determine them.

    Returns:
      s (b,), the shorter side's vectors (V^T of a tall or square W, U^T of a wide one; the other side is None), the
      residual by probes, and the largest entry of |U^T U - I| and |V^T V - I| over the vectors that W determines.

    Raises:
      numpy.linalg.LinAlgError: neither of LAPACK's iterations, `syevd` and `gesdd`, converged on a Gram matrix.
    """
    x = w if w.shape[0] >= w.shape[1] else w.T
    a, b = x.shape
    scale = _scale(x)
    q, s = _short_vectors(x, scale)
    z = gaussian_probes(b)
    determined = np.where(s > EPS * a * s[0], 1.0, 0.0)[:, None] * z
    reproduced, spanned = np.zeros((a, NUM_PROBES)), np.zeros((a, NUM_PROBES))
    step = max(1, GROUP_BYTES // (8 * a))
    for group in (slice(i, min(i + step, b)) for i in range(0, b, step)):
        p = _times(x, q[:, group], scale)
        reproduced += p.T @ (q[:, group].T @ z)
        s[group] = np.sqrt(np.einsum("ij,ij->i", p, p))
        p /= np.where(s[group] > 0, s[group], 1.0)[:, None]
        spanned += p.T @ determined[group]
        p[s[group] == 0] = np.nan
        take(group, p)
    norm = np.linalg.norm(s)
    difference = np.linalg.norm(_times(x, z, scale).T - reproduced) / np.sqrt(NUM_PROBES)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = q.T @ _transposed_times(x, spanned, scale) / s[:, None] - z
    left = np.where(determined == 0, 0.0, left)
    right = q @ (q.T @ z) - z
    short = np.ascontiguousarray(q.T)
    return MatrixSVD(
        u_t=None if x is w else short,
        s=np.sort(s)[::-1] / scale,  # ties may come out a rounding error out of order
        vt=short if x is w else None,
        residual=float(difference / norm if norm > 0 else difference),
        orthogonality=float(max(np.max(np.abs(left)), np.max(np.abs(right)))),
    )


def whole_svd(w: np.ndarray) -> MatrixSVD:
    """`streamed_svd` with all the long vectors kept; NaN if W is not finite or an iteration did not converge."""
    if not np.isfinite(w).all():
        return failed(w.shape)
    long = np.empty((min(w.shape), max(w.shape)))
    try:
        found = streamed_svd(w, long.__setitem__)
    except np.linalg.LinAlgError:
        return failed(w.shape)
    return found._replace(vt=long) if found.vt is None else found._replace(u_t=long)


def short_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values (b,) of a finite tall or square X (a, b), and its right singular vectors (b, b) as rows.

    Raises:
      numpy.linalg.LinAlgError: as `streamed_svd`.
    """
    scale = _scale(x)
    q, s = _short_vectors(x, scale)
    order = np.argsort(-s, kind="stable")  # ties may come out a rounding error out of order
    return s[order] / scale, np.ascontiguousarray(q.T[order])


def working_bytes(shape: tuple[int, int]) -> int:
    """Peak bytes that an (m, n) matrix takes beside W as stored."""
    return 3 * GROUP_BYTES + 2 * SLAB_BYTES + 8 * 6 * min(shape) ** 2


def _scale(x: np.ndarray) -> float:
    """A power of two with which squares neither overflow nor underflow."""
    largest = max(float(np.max(np.abs(slab))) for _, slab in _slabs(x, 1.0))
    return 2.0 ** min(1000, -int(np.frexp(largest)[1]))


def _slabs(x: np.ndarray, scale: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of X as float64 times `scale`."""
    step = max(1, SLAB_BYTES // (8 * x.shape[1]))
    for i in range(0, len(x), step):
        rows = slice(i, min(i + step, len(x)))
        slab = np.array(x[rows], dtype=np.float64, order="C")
        slab *= scale
        yield rows, slab


def _short_vectors(x: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Q (b, b) with the short singular vectors as columns, s (b,) to a relative error of about 1e-12."""
    a, b = x.shape
    q, s = np.eye(b), np.zeros(b)
    start = 0
    while start < b:
        inner = q[:, start:]
        evals, rotation = _eigh_descending(_gram(x, inner if start else None, scale))
        q[:, start:] = inner @ rotation
        s[start:] = np.sqrt(evals)
        if s[start] <= EPS * a * s[0]:  # nothing is left but rounding
            break
        start += int(np.count_nonzero(evals > SMALL**2 * evals[0]))
    return q, s


def _eigh_descending(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, at least 0, and eigenvectors; by `gesdd` where `syevd` does not converge."""
    try:
        evals, vectors = np.linalg.eigh(gram)
    except np.linalg.LinAlgError:
        vectors, evals, _ = np.linalg.svd(gram)
        return evals, vectors
    return np.maximum(evals[::-1], 0.0), vectors[:, ::-1]


def _gram(x: np.ndarray, basis: np.ndarray | None, scale: float) -> np.ndarray:
    """(X B)^T (X B); X^T X without a basis."""
    size = x.shape[1] if basis is None else basis.shape[1]
    total = np.zeros((size, size))
    for _, slab in _slabs(x, scale):
        y = slab if basis is None else slab @ basis
        total += y.T @ y
    return total


def _times(x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """(X Y)^T as contiguous rows."""
    result = np.empty((y.shape[1], len(x)))
    for rows, slab in _slabs(x, scale):
        result[:, rows] = (slab @ y).T
    return result


def _transposed_times(x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """X^T Y."""
    total = np.zeros((x.shape[1], y.shape[1]))
    for rows, slab in _slabs(x, scale):
        total += slab.T @ y[rows]
    return total
