"""Singular value decomposition of one matrix on the host, in float64, faster than LAPACK's own.

The Gram matrix X X^T of the shorter side (BLAS `syrk`), its eigenvectors q_i (LAPACK `syevd`, divide and conquer) and
one product p_i = q_i^T X give everything that is large: s_i = |p_i|, the other side's vector p_i / s_i. A Gram matrix
squares the condition number, so those of two singular values lose orthogonality as eps * s_1^2 / (s_i s_j). The p_i
below `SMALL` * s_1 are therefore taken apart: freed of their components along the large ones they are decomposed
directly, which leaves both sides orthonormal and the small singular values as accurate as LAPACK's (an absolute error
of a few eps * s_1). Rows that are zero to rounding get an orthonormal completion, so a matrix of any rank, zero
included, is decomposed without a special route.

NumPy's routines are used and not SciPy's: NumPy's release the GIL, so one matrix a thread runs in parallel.

References: Golub & Van Loan, Matrix Computations, 8.6; Stathopoulos & Wu, SIAM J. Sci. Comput. 23 (2002) 2165.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from eigensweep.engine.spectral.svd.accuracy import measure_errors

# Large ones keep eps * SMALL**-2 = 2e-12 of orthogonality; a square Gaussian matrix has 1 % of its s below.
SMALL = 1e-2
EPS = float(np.finfo(np.float64).eps)

_Rows = tuple[np.ndarray | None, np.ndarray, np.ndarray | None]  # u_t, s, vt


class MatrixSVD(NamedTuple):
    """One matrix (m, n), b = min(m, n): u_t (b, m) and vt (b, n) with the singular vectors as contiguous rows, s (b,).

    residual and orthogonality as accuracy.measure_errors has them. Without vectors they are NaN, u_t and vt None; a
    streamed matrix has only the shorter side's vectors.
    """

    u_t: np.ndarray | None
    s: np.ndarray
    vt: np.ndarray | None
    residual: float
    orthogonality: float

    @property
    def short(self) -> np.ndarray:
        """The vectors that a streamed matrix has, (b, b)."""
        vectors = self.vt if self.u_t is None else self.u_t
        assert vectors is not None, "a matrix without vectors"
        return vectors


def gram_svd(w: np.ndarray, vectors: bool = True) -> MatrixSVD:
    """Thin SVD of W (m, n) of any float dtype, by the route above; NaN if W is not finite or `syevd` does not converge.

    Without vectors s = sqrt(eigenvalues of the Gram matrix): the relative error of s_i is then about
    eps (s_1 / s_i)^2 / 2, so ill-conditioned matrices want `direct_svd`.
    """
    return _svd(w, _gram if vectors else _gram_values, vectors)


def direct_svd(w: np.ndarray, vectors: bool = True) -> MatrixSVD:
    """Thin SVD of W (m, n) of any float dtype by LAPACK's `gesdd`; NaN if W is not finite or it does not converge."""
    return _svd(w, _gesdd if vectors else _gesdd_values, vectors)


def failed(shape: tuple[int, int], vectors: bool = True) -> MatrixSVD:
    """The answer for a matrix with non-finite entries, or one LAPACK did not converge on: NaN of the right shapes."""
    b = min(shape)
    u_t, vt = (np.full((b, side), np.nan) if vectors else None for side in shape)
    return MatrixSVD(u_t, np.full(b, np.nan), vt, np.nan, np.nan)


def scaled_float64(w: np.ndarray) -> tuple[np.ndarray, int | None]:
    """W as float64 over 2^e, such that squares neither overflow nor underflow, and e; None if W is not finite.

    e is 0 for matrices of ordinary size, which are not copied then.
    """
    x = np.asarray(w, dtype=np.float64)
    largest = float(max(np.max(x), -np.min(x), 0.0)) if x.size else 0.0
    if not np.isfinite(largest):
        return x, None
    if largest == 0.0 or 2.0**-64 < largest < 2.0**64:
        return x, 0
    exponent = int(np.frexp(largest)[1])
    return np.ldexp(x, -exponent), exponent


def _svd(w: np.ndarray, route: Callable[[np.ndarray], _Rows], vectors: bool) -> MatrixSVD:
    x, exponent = scaled_float64(w)
    if exponent is None:
        return failed(w.shape, vectors)
    try:
        u_t, s, vt = route(x)
    except np.linalg.LinAlgError:
        return failed(w.shape, vectors)
    errors = (np.nan, np.nan) if u_t is None or vt is None else measure_errors(x, u_t.T, s, vt)
    return MatrixSVD(u_t, np.ldexp(s, exponent), vt, *errors)


def _gram(x: np.ndarray) -> _Rows:
    if x.shape[0] <= x.shape[1]:
        long, s, short = _rows_svd(x)
        return short, s, long
    return _rows_svd(x.T)


def _gram_values(x: np.ndarray) -> _Rows:
    gram = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    return None, np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)), None


def _gesdd(x: np.ndarray) -> _Rows:
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return np.ascontiguousarray(u.T), s, vt


def _gesdd_values(x: np.ndarray) -> _Rows:
    return None, np.linalg.svd(x, compute_uv=False), None


def _rows_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (b, a), b <= a, as short^T diag(s) long: long (b, a), s (b,), short (b, b), vectors as rows."""
    evals, short = np.linalg.eigh(x @ x.T)
    short = np.ascontiguousarray(short.T[::-1])
    p = short @ x
    num_large = int(np.count_nonzero(evals > SMALL**2 * evals[-1])) if evals.size else 0
    large = p[:num_large]
    s = np.empty(len(x))
    s[:num_large] = np.sqrt(np.einsum("ij,ij->i", large, large))
    large /= s[:num_large, None]
    if num_large < s.size:
        p[num_large:], s[num_large:], rotation = _small_svd(large, p[num_large:], np.sqrt(evals[-1]))
        short[num_large:] = rotation @ short[num_large:]
    if np.any(s[1:] > s[:-1]):  # ties, and neighbours at the seam, may come out a rounding error out of order
        order = np.argsort(-s, kind="stable")
        p, s, short = p[order], s[order], short[order]
    return p, s, short


def _small_svd(large: np.ndarray, p: np.ndarray, largest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P (k, a) = rotation^T diag(s) rows, the rows orthonormal and orthogonal to the rows of `large`."""
    rotation, s, rows = np.linalg.svd(_project_out(large, p), full_matrices=False)
    rank = int(np.count_nonzero(s > 20 * EPS * np.sqrt(p.shape[1]) * largest))
    rows[:rank] = _project_out(large, rows[:rank])
    if rank < s.size:
        rows[rank:] = _complete(np.concatenate([large, rows[:rank]]), s.size - rank)
    return rows, s, rotation.T


def _project_out(basis: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows - (rows @ basis.T) @ basis


def _complete(basis: np.ndarray, count: int) -> np.ndarray:
    """`count` orthonormal rows orthogonal to the orthonormal rows of `basis`."""
    q = np.random.default_rng(0).standard_normal((count, basis.shape[1]))
    for _ in range(2):  # twice is enough: the second pass removes what rounding put back
        q = np.linalg.qr(_project_out(basis, q).T)[0].T
    return q
