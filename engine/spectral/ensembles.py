"""Matrices of pure noise, for calibration: Gaussian ones as singular values in bulk, any other entry by entry."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

_SPARSE = 0.1  # share of entries that are not 0 in "sparse"
_HUGE, _HUGE_FACTOR = 3, 30.0  # how many entries are how many times larger in "huge"
_INT4 = 7  # largest level of a symmetric 4-bit grid, scaled row by row

_LAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "t5": lambda rng, shape: rng.standard_t(5, shape),
    "t10": lambda rng, shape: rng.standard_t(10, shape),
    "sparse": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < _SPARSE),
}
_PROFILES = ("rows", "columns", "both")
_CHANGES: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "huge": lambda rng, w: _with_huge(rng, w),
    "bfloat16": lambda rng, w: w.astype(ml_dtypes.bfloat16).astype(np.float64),
    "float8": lambda rng, w: w.astype(ml_dtypes.float8_e4m3fn).astype(np.float64),
    "int4": lambda rng, w: _int4(w),
}
NOISES = (*_LAWS, *(f"{side}:0.25" for side in _PROFILES), *_CHANGES)
"""Examples of what `noise` understands: any of them, and any of them joined by "+"."""


def noise(kind: str, rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """(m, n) float64: independent symmetric entries without any signal, of the kind named.

    Args:
      kind: words joined by "+", as "t5+both:0.25". A law of the entries (gaussian, the default; uniform, laplace, t5,
        t10; sparse: 90 % of the entries are 0). A profile: "rows:L", "columns:L", "both:L" multiply rows and columns by
        exp(L z), z standard normal. "huge": three entries are 30 times larger. A grid that the entries are rounded to:
        bfloat16, float8 (e4m3), int4 (symmetric, a scale a row).
      rng: of the entries.

    Raises:
      ValueError: an unknown word.
    """
    words = kind.split("+")
    law = _LAWS[words.pop(0)] if words[0] in _LAWS else _LAWS["gaussian"]
    w = law(rng, (m, n))
    for word in words:
        side, _, size = word.partition(":")
        if side in _PROFILES and size:
            scale = float(size)
            w = w * np.exp(scale * rng.standard_normal((m, 1))) if side in ("rows", "both") else w
            w = w * np.exp(scale * rng.standard_normal((1, n))) if side in ("columns", "both") else w
        elif word in _CHANGES:
            w = _CHANGES[word](rng, w)
        else:
            raise ValueError(f"noise {word!r}: expected words such as {', '.join(NOISES)}, joined by +")
    return w


def planted(w: np.ndarray, strengths: Any, rng: np.random.Generator) -> np.ndarray:
    """W + sum_i strengths_i u_i v_i^T u_i and v_i random and orthonormal: strengths as singular values."""
    strengths = np.atleast_1d(strengths)
    u, v = (np.linalg.qr(rng.standard_normal((side, strengths.size)))[0] for side in w.shape)
    return w + (u * strengths) @ v.T


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
    from scipy.linalg import eigvalsh_tridiagonal  # 0.1 s, and a sweep draws no ensembles

    evals = [eigvalsh_tridiagonal(x, y, lapack_driver="sterf") for x, y in zip(d, e, strict=True)]
    return np.sqrt(np.maximum(np.array(evals)[:, ::-1], 0))


def _with_huge(rng: np.random.Generator, w: np.ndarray) -> np.ndarray:
    w = w.copy()
    places = rng.choice(w.size, _HUGE, replace=False)
    w.ravel()[places] = _HUGE_FACTOR * np.std(w) * rng.choice([-1.0, 1.0], _HUGE)
    return w


def _int4(w: np.ndarray) -> np.ndarray:
    step = np.max(np.abs(w), axis=1, keepdims=True) / _INT4
    step[step == 0] = 1.0
    return np.clip(np.round(w / step), -_INT4, _INT4) * step
