"""The layers below a block: activations, linear maps, norms, dropout, rotary positions."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array


def _gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)


def _gelu_tanh(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_python": _gelu,
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate"), _gelu_tanh),
    **dict.fromkeys(("silu", "swish"), jax.nn.silu),
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}


def linear(num_in: int, num_out: int, bias: bool, dtype: str, rngs: nnx.Rngs) -> nnx.Linear:
    """y = x kernel + bias, kernel (in, out); computed in `dtype` whatever the parameters are stored in."""
    return nnx.Linear(num_in, num_out, use_bias=bias, dtype=jnp.dtype(dtype), param_dtype=jnp.float32, rngs=rngs)


def embedding(num_rows: int, width: int, dtype: str, rngs: nnx.Rngs) -> nnx.Embed:
    """A table (rows, width); an index outside it gives NaN, so that a wrong token id is seen."""
    return nnx.Embed(num_rows, width, dtype=jnp.dtype(dtype), param_dtype=jnp.float32, rngs=rngs)


class Norm(nnx.Module):
    """LayerNorm (x - mean)/sqrt(var + eps) * scale + bias, or RMSNorm x/sqrt(mean x^2 + eps) * scale, in float32.

    `rms_plus_one` is Gemma's RMSNorm, whose stored scale is less one. nnx.LayerNorm and nnx.RMSNorm multiply the scale
    into 1/sqrt(...) first, which rounds otherwise: recorded losses would change in their last digits.
    """

    def __init__(self, kind: str, width: int, eps: float):
        self.kind, self.eps = kind, eps
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32))
        if kind == "layer":
            self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))

    def __call__(self, x: Array) -> Array:
        y = x.astype(jnp.float32)
        scale = self.scale[...].astype(jnp.float32)
        if self.kind == "layer":
            y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + jnp.float32(self.eps))
        y = y * (scale + 1 if self.kind == "rms_plus_one" else scale)
        if self.kind == "layer":
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)


def dropout(x: Array, rate: float, key: Array | None) -> Array:
    """Zero entries with probability `rate` and rescale the rest; the identity without a key."""
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros((), x.dtype))


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al. 2021): the first `dim` entries of each head turn with the position."""

    dim: int
    theta: float
    kind: str = "default"  # default, linear, dynamic, llama3
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 0


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
