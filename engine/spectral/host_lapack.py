"""Singular value decomposition of one matrix on the host, in float64, faster than LAPACK's own.

The Gram matrix of the smaller side (BLAS `syrk`), its eigenvectors V (LAPACK `syevd`, divide and conquer) and one
product P = X V give everything that is large: s_i = |P_i|, u_i = P_i / s_i. A Gram matrix squares the condition
number, so the left vectors of two singular values lose orthogonality as eps * s_1^2 / (s_i s_j). The columns below
`SMALL` * s_1 are therefore taken apart: P_small, freed of its component along U_large, is decomposed directly, which
leaves both sides orthonormal and the small singular values as accurate as LAPACK's (an absolute error of a few eps *
s_1). Columns that are zero to rounding get an orthonormal completion, so a matrix of any rank, zero included, is
decomposed without a special route.

NumPy's routines are used and not SciPy's: NumPy's release the GIL, so one matrix a thread runs in parallel.

References: Golub & Van Loan, Matrix Computations, 8.6; Stathopoulos & Wu, SIAM J. Sci. Comput. 23 (2002) 2165.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eigensweep.engine.spectral.accuracy import measure_errors

# Large columns keep eps * SMALL**-2 = 2e-12 of orthogonality; a square Gaussian matrix has 1 % of its columns below.
SMALL = 1e-2
EPS = float(np.finfo(np.float64).eps)


class HostSVD(NamedTuple):
    """U (m, b), s (b,), V^T (b, n), relative residual and orthogonality error of one matrix; b = min(m, n)."""

    u: np.ndarray | None
    s: np.ndarray
    vt: np.ndarray | None
    residual: float
    orthogonality: float


def scaled_float64(w: np.ndarray) -> tuple[np.ndarray, float]:
    """W as float64 over a power of two that brings its largest entry into [1/2, 1); the scale is NaN if not finite."""
    x = np.asarray(w, dtype=np.float64)
    largest = float(max(np.max(x), -np.min(x), 0.0)) if x.size else 0.0
    if not np.isfinite(largest):
        return x, np.nan
    if largest == 0.0 or 2.0**-64 < largest < 2.0**64:
        return x, 1.0
    scale = 2.0 ** np.frexp(largest)[1]
    return x / scale, scale


def gram_svd(w: np.ndarray) -> HostSVD:
    """Full (thin) SVD of a finite or non-finite matrix W (m, n) of any float dtype; NaN everywhere if non-finite."""
    m, n = w.shape
    x, scale = scaled_float64(w)
    if not np.isfinite(scale):
        return failed(m, n)
    tall = x if m >= n else x.T
    try:
        left, s, right = _tall_svd(tall)
    except np.linalg.LinAlgError:
        return failed(m, n)
    u, vt = (left, right.T) if m >= n else (right, left.T)
    residual, orthogonality = measure_errors(x, u, s, vt)
    return HostSVD(u, s * scale, vt, residual, orthogonality)


def gram_values(w: np.ndarray) -> HostSVD:
    """Singular values only, s = sqrt(eigenvalues of the Gram matrix); no eigenvectors are computed.

    The relative error of s_i is about eps (s_1 / s_i)^2 / 2, so the caller recomputes ill-conditioned matrices.
    """
    m, n = w.shape
    x, scale = scaled_float64(w)
    if not np.isfinite(scale):
        return failed(m, n, vectors=False)
    gram = x.T @ x if m >= n else x @ x.T
    try:
        evals = np.linalg.eigvalsh(gram)[::-1]
    except np.linalg.LinAlgError:
        return failed(m, n, vectors=False)
    return HostSVD(None, scale * np.sqrt(np.maximum(evals, 0.0)), None, np.nan, np.nan)


def direct_svd(w: np.ndarray, vectors: bool = True) -> HostSVD:
    """LAPACK `gesdd` in float64."""
    m, n = w.shape
    x, scale = scaled_float64(w)
    if not np.isfinite(scale):
        return failed(m, n, vectors)
    try:
        if not vectors:
            return HostSVD(None, scale * np.linalg.svd(x, compute_uv=False), None, np.nan, np.nan)
        u, s, vt = np.linalg.svd(x, full_matrices=False)
    except np.linalg.LinAlgError:
        return failed(m, n, vectors)
    return HostSVD(u, scale * s, vt, *measure_errors(x, u, s, vt))


def failed(m: int, n: int, vectors: bool = True) -> HostSVD:
    """The answer for a matrix with non-finite entries, or one LAPACK did not converge on: NaN of the right shapes."""
    b = min(m, n)
    s = np.full(b, np.nan)
    if not vectors:
        return HostSVD(None, s, None, np.nan, np.nan)
    return HostSVD(np.full((m, b), np.nan), s, np.full((b, n), np.nan), np.nan, np.nan)


def _tall_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (a, b), s (b,), V (b, b) of X (a, b), a >= b."""
    evals, v = np.linalg.eigh(x.T @ x)
    v = np.ascontiguousarray(v[:, ::-1])
    p = x @ v
    num_large = int(np.count_nonzero(evals > SMALL**2 * evals[-1])) if evals.size else 0
    large, small = p[:, :num_large], p[:, num_large:]
    s = np.empty(x.shape[1])
    s[:num_large] = np.sqrt(np.einsum("ij,ij->j", large, large))
    large /= s[:num_large]
    if num_large < s.size:
        u_small, s[num_large:], rotation = _small_svd(large, small, float(np.sqrt(evals[-1])))
        p[:, num_large:] = u_small
        v[:, num_large:] = v[:, num_large:] @ rotation
    if np.any(s[1:] > s[:-1]):  # ties, and neighbours at the seam, may come out a rounding error out of order
        order = np.argsort(-s, kind="stable")
        p, s, v = p[:, order], s[order], v[:, order]
    return p, s, v


def _small_svd(
    u_large: np.ndarray, p_small: np.ndarray, largest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (a, k), s (k,) and the rotation (k, k) of V's last columns, U orthogonal to `u_large`."""
    u, s, rotation = np.linalg.svd(_project_out(u_large, p_small), full_matrices=False)
    rank = int(np.count_nonzero(s > 20 * EPS * np.sqrt(u.shape[0]) * largest)) if u_large.shape[1] else 0
    u[:, :rank] = _project_out(u_large, u[:, :rank])
    if rank < s.size:
        known = np.concatenate([u_large, u[:, :rank]], axis=1)
        u[:, rank:] = _complete(known, s.size - rank)
    return u, s, rotation.T


def _project_out(basis: np.ndarray, x: np.ndarray) -> np.ndarray:
    return x - basis @ (basis.T @ x)


def _complete(basis: np.ndarray, count: int) -> np.ndarray:
    """`count` orthonormal columns orthogonal to the orthonormal columns of `basis`."""
    q = np.random.default_rng(0).standard_normal((basis.shape[0], count))
    for _ in range(2):  # twice is enough: the second pass removes what rounding put back
        q = np.linalg.qr(_project_out(basis, q))[0]
    return q
