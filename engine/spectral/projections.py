"""Activations along single directions: is each of them Gaussian, or only their mixture?

Entries of all dimensions pooled mix distributions of different widths: Gaussians of unequal variance pool into
something with heavy tails. So the excess kurtosis is taken of each direction by itself, too:

    kurtosis(v) = mean (z - mean z)^4 / var(z)^2 - 3,    z = x . v over tokens

0 for a Gaussian, 3 for Laplace's distribution, -1.2 for a uniform one; of N independent Gaussian tokens it has the
standard error sqrt(24/N).
"""

import math

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 24  # projected values held at a time


def excess_kurtosis(values: NDArray, axis: int | None = None) -> NDArray:
    """Excess kurtosis over an axis, or of all values together; NaN where they are all equal."""
    values = np.asarray(values, np.float64)
    deviation = values - values.mean(axis=axis, keepdims=True)
    square = deviation * deviation
    variance = square.mean(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((square * square).mean(axis=axis) / variance**2 - 3)


def kurtosis_along(x: NDArray, directions: NDArray) -> NDArray:
    """Excess kurtosis of x along each direction.

    Args:
      x: (N, d), a token a row.
      directions: (K, d), of any length but zero.

    Returns:
      (K,) float64.
    """
    step = max(1, _CHUNK // max(1, len(x)))
    x = np.asarray(x, np.float64)
    parts = [excess_kurtosis(x @ directions[i : i + step].T, axis=0) for i in range(0, len(directions), step)]
    return np.concatenate(parts) if parts else np.empty(0)


def standardised(x: NDArray) -> NDArray:
    """Each dimension with mean 0 and variance 1, those that are constant left out; (N, at most d) float64."""
    x = np.asarray(x, np.float64)
    x = x - x.mean(axis=0)
    deviation = x.std(axis=0)
    varies = deviation > 0
    return x[:, varies] / deviation[varies]


def random_directions(num: int, d: int, seed: int) -> NDArray:
    """(num, d) Gaussian, hence uniform on the sphere once scaled."""
    return np.random.default_rng(seed).standard_normal((num, d))


def standard_error(num: int) -> float:
    """Of the excess kurtosis of `num` independent Gaussian values, where they are many."""
    return math.sqrt(24 / num) if num else math.nan


def cosines(states: NDArray, centred: bool = False) -> NDArray:
    """Mean cosine of the same tokens at two places, for every pair of places.

    Args:
      states: (L, N, d): L places of N tokens.
      centred: take each place's mean over tokens off first, which a few large dimensions that all tokens share would
        otherwise decide.

    Returns:
      (L, L) symmetric, 1 on the diagonal; tokens that are zero somewhere count as 0 there.
    """
    states = np.asarray(states, np.float64)
    if centred:
        states = states - states.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(states, axis=2, keepdims=True)
    unit = np.divide(states, norm, out=np.zeros_like(states), where=norm > 0).reshape(len(states), -1)
    return unit @ unit.T / states.shape[1]
