"""Ways to the Kolmogorov-Smirnov statistic of `spectral/ks.py` on a device, beside its float64 sort.

float32 keys    The entries rounded to float32 before they are sorted. F moves by at most max z phi(z) 2^-24 = 1.5e-8,
                and so does D: not the same numbers, but p-values do not notice.
without a sort  The entries go into n bins of width 1/n by F. Within a bin i/n rises by 1/n from one to the next and F
                by less, so that only the first and the last entry of a bin can decide: counts, least and largest
                values of all bins give the exact D.

Reference: T. Gonzalez, S. Sahni, W. R. Franta, An efficient algorithm for the Kolmogorov-Smirnov and Lilliefors tests,
ACM Trans. Math. Softw. 3 (1977), 60-64.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr


@jax.jit
def by_float32_keys(x: Array) -> Array:
    """D of every vector on the last axis of x (R, n), to 1.5e-8; NaN for vectors with NaN."""
    n = x.shape[-1]
    ordered = jnp.sort(x.astype(jnp.float32), axis=-1).astype(x.dtype)
    cdf = ndtr(np.sqrt(n).astype(x.dtype) * ordered)
    gap = jnp.abs(cdf - ((np.arange(n) + 0.5) / n).astype(x.dtype))
    return jnp.where(jnp.isnan(ordered[..., -1]), jnp.nan, jnp.max(gap, axis=-1) + 0.5 / n)


@jax.jit
def without_sort(x: Array) -> Array:
    """D of every vector on the last axis of x (R, n), to rounding; NaN for vectors with NaN."""
    rows, n = x.shape
    cdf = ndtr(np.sqrt(n).astype(x.dtype) * x)
    bad = jnp.any(jnp.isnan(x), axis=-1)
    bins = jnp.clip(jnp.where(bad[:, None], 0, cdf) * n, 0, n - 1).astype(jnp.int32)
    place = (bins + n * jnp.arange(rows, dtype=jnp.int32)[:, None]).ravel()
    flat, shape = cdf.ravel(), (rows, n)
    count = jnp.zeros(rows * n, jnp.int32).at[place].add(1).reshape(shape)
    least = jnp.full(rows * n, 2.0, x.dtype).at[place].min(flat).reshape(shape)
    most = jnp.full(rows * n, -1.0, x.dtype).at[place].max(flat).reshape(shape)
    count = count.astype(x.dtype)  # int32 by an int would be float32
    through = jnp.cumsum(count, axis=-1)
    gap = jnp.maximum(through / n - most, least - (through - count) / n)
    return jnp.where(bad, jnp.nan, jnp.max(jnp.where(count > 0, gap, 0), axis=-1))
