"""Benjamini-Hochberg: which of many p-values to reject with the false discovery rate held at a level."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def benjamini_hochberg(p: ArrayLike, level: float) -> Array:
    """Reject every p <= p_(k), k the largest rank with p_(k) <= level * k / N.

    Args:
      p: (N,) p-values in any order. NaN (not determined) is never rejected and does not count in N.
      level: false discovery rate, in (0, 1).

    Returns:
      (N,) bool, True where rejected.

    Reference: Benjamini & Hochberg, J. R. Stat. Soc. B 57 (1995) 289.
    """
    p = jnp.asarray(p)
    ordered = jnp.sort(p)  # NaN last, where every comparison is False
    num_valid = jnp.sum(~jnp.isnan(p))
    rank = jnp.arange(1, p.size + 1)
    passes = ordered <= level * rank / jnp.maximum(num_valid, 1)
    threshold = jnp.max(jnp.where(passes, ordered, -1.0), initial=-1.0)
    return p <= threshold
