"""What a projection before a norm takes out of a signal, and what the norm's gain is then worth.

A norm divides x (d entries) by its length, so the signal that counts is x / |x|, and its second moments are

    F = d mean over tokens of x x^T / |x|^2,    tr F = d.

With Q (d, k) orthonormal, P = I - Q Q^T, the share of the signal's energy that goes is eps = tr(Q^T F Q) / d, the mean
over tokens of |Q^T x|^2 / |x|^2. The norm divides P x by its own, smaller length: of a token, what remains grows by
|x| / |P x|, and over tokens by about 1/sqrt(1 - eps). Times sqrt(1 - eps), the norm's gain leaves what is kept as large
as it was, so that the loss tells of what is missing and not of a larger scale. For directions that know nothing of the
signal eps = k/d, and this is the factor sqrt(d'/d), d' = d - k.

SliceGPT (Ashkboos et al. 2024, arXiv 2401.15024) takes the same F and leaves the gains as they are.
"""

import jax
import numpy as np
from numpy.typing import NDArray

from eigensweep.engine.spectral import controls, deciles

FACTORS = ("energy", "width", "none")


def decile_basis(vectors: NDArray, number: int) -> NDArray:
    """(d, k): a tenth of the eigenvectors (d, d), rows in descending order of their eigenvalues; 1 the largest."""
    return np.ascontiguousarray(vectors[deciles.decile(number, len(vectors))].T)


def random_basis(d: int, k: int, key: jax.Array) -> NDArray:
    """(d, k) orthonormal columns that span a uniformly random subspace."""
    return np.linalg.qr(controls.generator(key).standard_normal((d, k)))[0]


def energy(f: NDArray, basis: NDArray) -> float:
    """eps = tr(Q^T F Q) / tr F, the share of the signal in the span of Q (d, k)."""
    return float(np.sum(basis * (f @ basis)) / np.trace(f))


def gain_factor(kind: str, share: float, width: int, removed: int) -> float:
    """What a norm's gain is multiplied by: sqrt(1 - eps) for "energy", sqrt(d'/d) for "width", 1 for "none"."""
    kept = {"energy": 1 - share, "width": 1 - removed / width, "none": 1.0}[kind]
    return float(np.sqrt(max(kept, 0.0)))
