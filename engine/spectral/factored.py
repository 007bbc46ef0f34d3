"""Singular value decomposition of products of thin factors, W = L R, without ever forming W.

With thin QR of both, L = Q_1 R_1 and R^T = Q_2 R_2, the decomposition R_1 R_2^T = A diag(s) B^T of an r x r matrix is
that of W: u_i = Q_1 a_i and v_i = Q_2 b_i. Singular values err by a few eps |L| |R|, small ones too: the rounding of
the product of factors, not of W.

On the host NumPy's LAPACK, on accelerators XLA's, both in float64.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.spectral.svd import decompose
from eigensweep.engine.spectral.svd.streamed import short_svd


class Factored(NamedTuple):
    """W = U diag(s) V^T for B products of rank at most k = min(m, r, n); NumPy, float64.

    Attributes:
      u: (B, m, k) left singular vectors as columns.
      s: (B, k) descending.
      vt: (B, k, n) right singular vectors as rows.
      left: (B, k) |L^T u_i|, what noise of the right factor is multiplied by in direction i.
      right: (B, k) |R v_i|, what noise of the left factor is multiplied by.
    """

    u: np.ndarray
    s: np.ndarray
    vt: np.ndarray
    left: np.ndarray
    right: np.ndarray


def product_svd(left: np.ndarray, right: np.ndarray) -> Factored:
    """Thin SVD of every product of a batch.

    Args:
      left: (B, m, r) finite.
      right: (B, r, n) finite.

    Raises:
      ValueError: the shapes do not fit.
      numpy.linalg.LinAlgError: an iteration did not converge.
    """
    if left.ndim != 3 or right.ndim != 3 or left.shape[0] != right.shape[0] or left.shape[2] != right.shape[1]:
        raise ValueError(f"factors {left.shape} and {right.shape}: expected (B, m, r) and (B, r, n)")
    xp = np if jax.default_backend() == "cpu" else jnp
    q1, r1 = xp.linalg.qr(xp.asarray(left, xp.float64))
    q2, r2 = xp.linalg.qr(xp.asarray(right, xp.float64).swapaxes(1, 2))
    with jax.default_matmul_precision("highest"):
        a, s, bt = xp.linalg.svd(r1 @ r2.swapaxes(1, 2), full_matrices=False)
        u, vt = q1 @ a, bt @ q2.swapaxes(1, 2)
        norms = xp.linalg.norm(r1.swapaxes(1, 2) @ a, axis=1), xp.linalg.norm(bt @ r2, axis=2)
    return Factored(*(np.asarray(x) for x in (u, s, vt, *norms)))


def product_values(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Singular values (B, k) of every product, as `product_svd`'s."""
    xp: Any = np if jax.default_backend() == "cpu" else jnp
    r1 = xp.linalg.qr(xp.asarray(left, xp.float64), mode="r")
    r2 = xp.linalg.qr(xp.asarray(right, xp.float64).swapaxes(1, 2), mode="r")
    with jax.default_matmul_precision("highest"):
        return np.asarray(xp.linalg.svd(r1 @ r2.swapaxes(1, 2), compute_uv=False))


def side_svd(w: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Singular values (B, k) of matrices (B, m, n), k = min(m, n), and the vectors of one side as rows (B, k, m or n).

    Of the shorter side the host needs the Gram matrices alone, and never the long vectors.

    Args:
      w: any floating dtype, finite; computed in float64.
      side: "left" or "right".

    Raises:
      ValueError: another side.
      numpy.linalg.LinAlgError: an iteration did not converge.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side {side!r}: expected left or right")
    tall = w if side == "right" else w.swapaxes(1, 2)
    if jax.default_backend() == "cpu" and tall.shape[1] >= tall.shape[2]:
        each = [short_svd(x) for x in tall]
        return np.stack([s for s, _ in each]), np.stack([vectors for _, vectors in each])
    found = decompose(tall)
    s, vt = np.asarray(found.s), np.asarray(found.vt)
    if np.isnan(s).any():
        raise np.linalg.LinAlgError(f"a matrix {w.shape[1:]} could not be decomposed")
    return s, vt
