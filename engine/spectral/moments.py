"""Moments in one pass: count, mean and central sums of powers, extremes; parts of the data merge to those of the whole.

Float64 throughout. Merging is Chan, Golub & LeVeque 1979 for the second moment, Pébay 2008 (SAND2008-6212) for the
third and fourth. Merged in the same order, the same parts give the same bits.
"""

from typing import Any, NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Of n numbers each, arrays of one shape (one a dimension, or () for a single set).

    Attributes:
      count: n.
      mean: NaN where there are none.
      m2, m3, m4: sum (x - mean)^k.
      low, high: smallest and largest; inf and -inf where there are none.
    """

    count: Any
    mean: Any
    m2: Any
    m3: Any
    m4: Any
    low: Any
    high: Any

    @property
    def sd(self) -> Any:
        """sqrt(m2 / n)."""
        return np.sqrt(self._over(self.m2, self.count))

    @property
    def skewness(self) -> Any:
        """(m3 / n) / (m2 / n)^(3/2); NaN where all are equal."""
        return self._over(self.m3 * np.sqrt(self.count), self.m2**1.5)

    @property
    def kurtosis(self) -> Any:
        """Excess kurtosis, n m4 / m2^2 - 3, 0 for a normal distribution; NaN where all are equal."""
        return self._over(self.m4 * self.count, self.m2**2) - 3.0

    @staticmethod
    def _over(a: Any, b: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.divide(np.asarray(a, np.float64), np.asarray(b, np.float64))


def zero(shape: tuple[int, ...] = ()) -> Moments:
    """Moments of no data."""
    nothing = np.zeros(shape)
    return Moments(nothing, nothing, nothing, nothing, nothing, np.full(shape, np.inf), np.full(shape, -np.inf))


def moments(x: Any, mask: Any = None) -> Moments:
    """Moments of each column.

    Args:
      x: (..., n, d), of NumPy or JAX, any floating dtype.
      mask: (..., n), true for what counts; what does not may hold anything. None: all.

    Returns:
      Moments of shape (..., d).
    """
    xp = x.__array_namespace__()
    seen = xp.ones(x.shape[:-1], dtype=bool) if mask is None else mask
    values, weight = x.astype(xp.float64), seen[..., None]
    if mask is not None:
        values = xp.where(weight, values, 0.0)
    count = xp.broadcast_to(xp.sum(weight, axis=-2, dtype=xp.float64), (*x.shape[:-2], x.shape[-1]))
    mean = xp.sum(values, axis=-2) / xp.maximum(count, xp.ones_like(count))
    deviation = (values - mean[..., None, :]) * weight
    square = deviation * deviation
    return Moments(
        count,
        mean,
        xp.sum(square, axis=-2),
        xp.sum(square * deviation, axis=-2),
        xp.sum(square * square, axis=-2),
        xp.min(xp.where(weight, values, xp.inf), axis=-2, initial=xp.inf),
        xp.max(xp.where(weight, values, -xp.inf), axis=-2, initial=-xp.inf),
    )


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the data of both, of one shape."""
    n = np.maximum(a.count + b.count, 1.0)
    delta = b.mean - a.mean
    share_a, share_b = a.count / n, b.count / n
    cross = a.count * share_b  # n_a n_b / n
    m3 = delta**3 * cross * (share_a - share_b) + 3 * delta * (share_a * b.m2 - share_b * a.m2)
    spread = share_a**2 - share_a * share_b + share_b**2
    m4 = delta**4 * cross * spread + 6 * delta**2 * (share_a**2 * b.m2 + share_b**2 * a.m2)
    m4 = m4 + 4 * delta * (share_a * b.m3 - share_b * a.m3)
    return Moments(
        a.count + b.count,
        a.mean + delta * share_b,
        a.m2 + b.m2 + delta**2 * cross,
        a.m3 + b.m3 + m3,
        a.m4 + b.m4 + m4,
        np.minimum(a.low, b.low),
        np.maximum(a.high, b.high),
    )


def pooled(parts: Moments) -> Moments:
    """All entries along the first axis together, in pairs: (k, ...) -> (...)."""
    while len(parts.count) > 1:
        if len(parts.count) % 2:
            parts = Moments(
                *(np.concatenate((x, z[None])) for x, z in zip(parts, zero(parts.count.shape[1:]), strict=True))
            )
        parts = merge(Moments(*(x[::2] for x in parts)), Moments(*(x[1::2] for x in parts)))
    return Moments(*(x[0] for x in parts))
