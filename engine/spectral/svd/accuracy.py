"""How good a decomposition is, measured with random probes.

The residual |W - U S V^T|_F and the entries of U^T U - I cost as much as the products that made U, and half as much as
the whole decomposition at n = 4096. Gaussian probes Z (n, k) measure the same at a hundredth of the price: E |R z|^2
= |R|_F^2, and (E z)_i has the norm of row i of E = U^T U - I for its standard deviation, which bounds E's entries.
"""

from __future__ import annotations

import functools

import numpy as np

# The estimate of a Frobenius norm is then within a factor of 2 in 999 cases of 1000, even for rank one.
NUM_PROBES = 8


@functools.lru_cache(maxsize=64)
def gaussian_probes(n: int) -> np.ndarray:
    """Z (n, NUM_PROBES), the same for every call."""
    return np.random.default_rng(n).standard_normal((n, NUM_PROBES))


def measure_errors(w: np.ndarray, u: np.ndarray, s: np.ndarray, vt: np.ndarray) -> tuple[float, float]:
    """Relative residual |W - U S V^T|_F / |W|_F and the largest entry of |U^T U - I|, |V V^T - I|, by probes.

    Args:
      w: (m, n); u: (m, b); s: (b,); vt: (b, n), all float64.

    Returns:
      (residual, orthogonality); (0, 0) for an empty matrix, residual 0 for a zero matrix decomposed exactly.
    """
    if s.size == 0:
        return 0.0, 0.0
    z = gaussian_probes(w.shape[1])
    wz = w @ z
    difference = np.linalg.norm(wz - u @ (s[:, None] * (vt @ z)))
    norm = np.linalg.norm(s)
    residual = difference / np.sqrt(NUM_PROBES) / norm if norm > 0 else float(difference)
    z = gaussian_probes(s.size)
    left = np.max(np.abs(u.T @ (u @ z) - z))
    right = np.max(np.abs(vt @ (vt.T @ z) - z))
    return float(residual), float(max(left, right))
