"""Rotary positions (Su et al. 2021), and how they are stretched to longer texts."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding: the first `dim` entries of each head turn with the position.

    kind: default, linear, dynamic, llama3, yarn (Peng et al. 2023), longrope (Ding et al. 2024).
    """

    dim: int
    theta: float
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0
    original_max_positions: int = 0
    attention_factor: float = 1.0  # multiplies cosine and sine: yarn and longrope
    beta_fast: float = 32.0  # yarn: what turns more often in the original context is left as it is
    beta_slow: float = 1.0  # and what turns less often is divided by `factor`
    truncate: bool = True  # yarn: the entries where that begins and ends are rounded outwards
    short_factors: tuple[float, ...] = ()  # longrope: divide the frequencies, one each
    long_factors: tuple[float, ...] = ()  # of texts longer than the original context


def inverse_frequencies(rope: Rope) -> np.ndarray:
    """Angles a position, theta^(-2i/dim) for i < dim/2, rescaled as `rope.kind` says. Returns (dim/2,) float64.

    linear divides every frequency by `factor`. llama3 divides only those whose wavelength exceeds
    original_max_positions/low_freq_factor, leaves those below original_max_positions/high_freq_factor, and
    interpolates between. yarn does so between the entries that turn beta_fast and beta_slow times in the original
    context. dynamic and longrope depend on the text's length: see `angles`.
    """
    frequencies = rope.theta ** (-np.arange(0, rope.dim, 2) / rope.dim)
    if rope.kind == "linear":
        return frequencies / rope.factor
    if rope.kind == "llama3":
        turns = rope.original_max_positions * frequencies / (2 * math.pi)  # turns within the original context
        keep = np.clip((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0)
    elif rope.kind == "yarn":
        keep = 1 - _yarn_ramp(rope)
    else:
        return frequencies
    return frequencies * (keep + (1 - keep) / rope.factor)


def _yarn_ramp(rope: Rope) -> np.ndarray:
    """From 0 at the entry that turns beta_fast times in the original context to 1 at that which turns beta_slow."""

    def entry(turns: float) -> float:
        wavelength = rope.original_max_positions / (2 * math.pi * turns)
        return rope.dim * math.log(wavelength) / (2 * math.log(rope.theta))

    low, high = entry(rope.beta_fast), entry(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.dim - 1)
    if low == high:
        high += 0.001
    return np.clip((np.arange(rope.dim // 2) - low) / (high - low), 0.0, 1.0)


def angles(ropes: tuple[Rope, ...], positions: Array) -> tuple[Array, Array]:
    """Cosine and sine of every position's angles, for each of K kinds of rotary positions.

    Args:
      ropes: all of one `dim`.
      positions: (B, T) int.

    Returns:
      cos, sin: (K, B, T, dim/2) float32.
    """
    both = [_angles(rope, positions) for rope in ropes]
    cos, sin = (jnp.stack(parts) for parts in zip(*both, strict=True))
    return cos, sin


def _angles(rope: Rope, positions: Array) -> tuple[Array, Array]:
    frequencies = jnp.asarray(inverse_frequencies(rope), jnp.float32)
    length = positions.max() + 1
    if rope.kind == "dynamic":  # the base grows once a text is longer than the model was trained for
        longest = jnp.maximum(length, rope.original_max_positions).astype(jnp.float32)
        stretch = rope.factor * longest / rope.original_max_positions - (rope.factor - 1)
        exponent = jnp.asarray(np.arange(0, rope.dim, 2) / (rope.dim - 2), jnp.float32)
        frequencies = frequencies * stretch**-exponent
    if rope.kind == "longrope":
        short, long = (jnp.asarray(factors, jnp.float32) for factors in (rope.short_factors, rope.long_factors))
        frequencies = frequencies / jnp.where(length > rope.original_max_positions, long, short)
    phase = positions[..., None].astype(jnp.float32) * frequencies
    scale = jnp.float32(rope.attention_factor)
    return jnp.cos(phase) * scale, jnp.sin(phase) * scale


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Turn the pairs (x_i, x_(i + dim/2)) of every head by their angles; entries beyond dim pass through.

    Args:
      x: (B, T, H, D).
      cos, sin: (B, T, dim/2) float32.

    Returns:
      (B, T, H, D) in x's dtype.
    """
    half = cos.shape[-1]
    cos, sin = cos[:, :, None], sin[:, :, None]
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    turned = jnp.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)
    return jnp.concatenate((turned.astype(x.dtype), rest), axis=-1)
