"""Gaussian matrices' singular values in bulk, for calibration: no matrix is ever formed."""

from typing import Any

import numpy as np
import scipy.linalg


def gaussian_singular_values(seed: Any, a: int, b: int, num: int, spike: float = 0.0) -> np.ndarray:
    """(num, b) singular values, descending, in the law of a x b N(0, 1) entries + spike * u v^T; a >= b, |u| = |v| = 1.

    Householder reflections leave such a matrix bidiagonal with independent chi entries of a, a - 1, ... degrees of
    freedom on the diagonal and b - 1, b - 2, ... above it (Dumitriu and Edelman); a spike, which may as well sit in the
    first entry, makes the first of them non-central (Bloemendal and Virag). 20,000 of 64 x 64 take a second.
    """
    rng = np.random.default_rng(seed)
    diagonal = np.sqrt(rng.chisquare(a - np.arange(b), (num, b)))
    diagonal[:, 0] = np.sqrt(rng.noncentral_chisquare(a, spike**2, num))
    above = np.sqrt(rng.chisquare(np.arange(b - 1, 0, -1), (num, b - 1)))
    d, e = diagonal**2, diagonal[:, :-1] * above
    d[:, 1:] += above**2
    evals = [scipy.linalg.eigvalsh_tridiagonal(x, y, lapack_driver="sterf") for x, y in zip(d, e, strict=True)]
    return np.sqrt(np.maximum(np.array(evals)[:, ::-1], 0))
