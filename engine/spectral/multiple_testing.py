"""Benjamini-Hochberg: which of many p-values to reject with the false discovery rate held at a level."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def benjamini_hochberg(p: ArrayLike, level: float) -> Array | np.ndarray:
    """Reject every p <= p_(k), k the largest rank with p_(k) <= level * k / N.

    Args:
      p: (..., N) p-values, a family on the last axis, in any order. NaN (not determined) is never rejected and
        does not count in N. NumPy gives NumPy, anything else JAX (jittable, vmappable).
      level: false discovery rate, in (0, 1).

    Returns:
      (..., N) bool, True where rejected.

    Reference: Benjamini & Hochberg, J. R. Stat. Soc. B 57 (1995) 289.
    """
    xp: Any = np if isinstance(p, np.ndarray) else jnp
    ordered = xp.sort(xp.asarray(p), axis=-1)
    num_valid = xp.sum(~xp.isnan(ordered), axis=-1, keepdims=True)
    rank = xp.arange(1, ordered.shape[-1] + 1)
    passes = ordered <= level * rank / xp.maximum(num_valid, 1)  # NaN is last, and passes nothing
    threshold = xp.max(xp.where(passes, ordered, -1.0), axis=-1, keepdims=True, initial=-1.0)
    return xp.asarray(p) <= threshold
