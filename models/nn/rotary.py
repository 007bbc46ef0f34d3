"""Rotary position embeddings (Su et al. 2021), with the frequency scalings of Llama 3.1 and its forerunners."""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from eigensweep.models.nn.rope import Rope


def inverse_frequencies(rope: Rope) -> np.ndarray:
    """Angles a position, theta^(-2i/dim) for i < dim/2, rescaled as `rope.kind` says. Returns (dim/2,) float64.

    linear divides every frequency by `factor`. llama3 divides only those whose wavelength exceeds
    original_max_positions/low_freq_factor, leaves those below original_max_positions/high_freq_factor, and
    interpolates between. dynamic depends on the text's length: see `angles`.
    """
    frequencies = rope.theta ** (-np.arange(0, rope.dim, 2) / rope.dim)
    if rope.kind == "linear":
        return frequencies / rope.factor
    if rope.kind != "llama3":
        return frequencies
    turns = rope.original_max_positions * frequencies / (2 * math.pi)  # turns within the original context
    keep = np.clip((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0)
    return frequencies * (keep + (1 - keep) / rope.factor)


def angles(rope: Rope, positions: Array) -> tuple[Array, Array]:
    """Cosine and sine of every position's angles.

    Args:
      positions: (B, T) int.

    Returns:
      cos, sin: (B, T, dim/2) float32.
    """
    frequencies = jnp.asarray(inverse_frequencies(rope), jnp.float32)
    if rope.kind == "dynamic":  # the base grows once a text is longer than the model was trained for
        length = jnp.maximum(positions.max() + 1, rope.original_max_positions).astype(jnp.float32)
        stretch = rope.factor * length / rope.original_max_positions - (rope.factor - 1)
        exponent = jnp.asarray(np.arange(0, rope.dim, 2) / (rope.dim - 2), jnp.float32)
        frequencies = frequencies * stretch**-exponent
    phase = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(phase), jnp.sin(phase)


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
