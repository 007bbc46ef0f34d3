"""The layers below a block: activations, linear maps, norms, dropout, soft caps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
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


BIASED = ("layer", "rms_shift")  # norms that add a bias


class Norm(nnx.Module):
    """LayerNorm (x - mean)/sqrt(var + eps) * scale + bias, or RMSNorm x/sqrt(mean x^2 + eps) * scale, in float32.

    `rms_plus_one` is Gemma's RMSNorm, whose stored scale is less one; `rms_shift` a LayerNorm of values whose mean is
    already 0, and so RMSNorm with a bias (see `centred`). nnx.LayerNorm and nnx.RMSNorm multiply the scale
    into 1/sqrt(...) first, which rounds otherwise: recorded losses would change in their last digits.
    """

    def __init__(self, kind: str, width: int, eps: float):
        self.kind, self.eps = kind, eps
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32))
        if kind in BIASED:
            self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))

    def __call__(self, x: Array) -> Array:
        y = x.astype(jnp.float32)
        scale = self.scale[...].astype(jnp.float32)
        if self.kind == "layer":
            y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + jnp.float32(self.eps))
        y = y * (scale + 1 if self.kind == "rms_plus_one" else scale)
        if self.kind in BIASED:
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)


def dropout(x: Array, rate: float, key: Array | None) -> Array:
    """Zero entries with probability `rate` and rescale the rest; the identity without a key."""
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros((), x.dtype))


def soft_cap(x: Array, cap: float) -> Array:
    """cap tanh(x/cap), between -cap and cap; x itself where cap is 0."""
    return x if cap == 0.0 else jnp.tanh(x / jnp.asarray(cap, x.dtype)) * jnp.asarray(cap, x.dtype)
