"""The layers below a block: linear maps, norms, dropout."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from eigensweep.models.nn.architecture import Architecture


def linear(num_in: int, num_out: int, bias: bool, dtype: str, rngs: nnx.Rngs) -> nnx.Linear:
    """y = x kernel + bias, kernel (in, out); computed in `dtype` whatever the parameters are stored in."""
    return nnx.Linear(
        num_in,
        num_out,
        use_bias=bias,
        dtype=jnp.dtype(dtype),
        param_dtype=jnp.float32,
        rngs=rngs,
    )


def embedding(num_rows: int, width: int, dtype: str, rngs: nnx.Rngs) -> nnx.Embed:
    """A table (rows, width); an index outside it gives NaN, so that a wrong token id is seen."""
    return nnx.Embed(
        num_rows,
        width,
        dtype=jnp.dtype(dtype),
        param_dtype=jnp.float32,
        rngs=rngs,
    )


class Norm(nnx.Module):
    """LayerNorm (x - mean)/sqrt(var + eps) * scale + bias, or RMSNorm x/sqrt(mean x^2 + eps) * scale, in float32.

    `rms_plus_one` is Gemma's RMSNorm, whose stored scale is less one.
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


def norm(architecture: Architecture, width: int | None = None) -> Norm:
    """The architecture's norm over `width` entries (the residual stream's unless said)."""
    return Norm(architecture.norm, width or architecture.width, architecture.norm_eps)


def dropout(x: Array, rate: float, key: Array | None) -> Array:
    """Zero entries with probability `rate` and rescale the rest; the identity without a key."""
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros((), x.dtype))
