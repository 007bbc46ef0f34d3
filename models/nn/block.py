"""One transformer block: attention and MLP with their norms and residual sums, for every family.

A block also returns its taps, the activations that enter its linear layers. A compiled function that does not
return them never computes a copy, so they cost nothing where nobody asks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.layers import ACTIVATIONS, Norm, dropout, linear, rotate

Taps = dict[str, Array]


class Context(NamedTuple):
    """What every block of one forward pass shares."""

    mask: Array  # (B, T) bool, True for tokens, False for padding
    rope: tuple[Array, Array] | None  # cos, sin (B, T, dim/2)
    dropout_key: Array | None  # None: no dropout


class Layer(NamedTuple):
    """What distinguishes one block from the next besides its parameters; traced, so that all share one compilation."""

    number: Array  # int32, which block
    window: Array  # int32, tokens seen backwards, itself included
    scale: Array  # float32, multiplies q . k


def layer(architecture: Architecture, index: int) -> Layer:
    """The settings of block `index`."""
    return Layer(
        jnp.int32(index),
        jnp.int32(architecture.windows[index]),
        jnp.float32(architecture.attention_scales[index]),
    )


def norm(architecture: Architecture, width: int | None = None) -> Norm:
    """The architecture's norm over `width` entries (the residual stream's unless said)."""
    return Norm(architecture.norm, width or architecture.width, architecture.norm_eps)


def allowed(mask: Array, causal: bool, window: Array) -> Array:
    """Which key (last axis) each query may see: tokens only, and, if causal, not ahead nor `window` or more behind.

    Args:
      mask: (B, T) bool.

    Returns:
      (B, T, T) bool.
    """
    num_tokens = mask.shape[1]
    if not causal:
        return jnp.broadcast_to(mask[:, None, :], (mask.shape[0], num_tokens, num_tokens))
    behind = jnp.arange(num_tokens)[:, None] - jnp.arange(num_tokens)[None, :]
    return mask[:, None, :] & (behind >= 0) & (behind < window)


def attend(
    query: Array,
    key: Array,
    value: Array,
    seen: Array,
    scale: Array,
    rate: float = 0.0,
    drop: Array | None = None,
) -> Array:
    """softmax(scale q . k) v with grouped queries: consecutive query heads share a key/value head.

    Args:
      query: (B, T, H, D).
      key, value: (B, T, K, D), K divides H.
      seen: (B, T, T) bool, the keys each query may see. A query that may see none averages all.
      rate, drop: dropout of the attention weights.

    Returns:
      (B, T, H * D); scores and softmax in float32, the sums in value's dtype.
    """
    batch, num_tokens, num_heads, head_dim = query.shape
    groups = query.reshape(batch, num_tokens, key.shape[2], -1, head_dim)
    scores = jnp.einsum("btkgd,bskd->bkgts", groups, key, preferred_element_type=jnp.float32) * scale
    scores = jnp.where(seen[:, None, None], scores, jnp.finfo(jnp.float32).min)
    weights = dropout(jax.nn.softmax(scores, axis=-1), rate, drop).astype(value.dtype)
    return jnp.einsum("bkgts,bskd->btkgd", weights, value).reshape(batch, num_tokens, num_heads * head_dim)


class Attention(nnx.Module):
    """Multi-head attention with optional rotary positions, q/k norms and grouped queries."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch = arch
        num_query, num_kv = arch.num_heads * arch.head_dim, arch.num_kv_heads * arch.head_dim
        self.query = linear(arch.width, num_query, arch.qkv_bias, dtype, rngs)
        self.key = linear(arch.width, num_kv, arch.qkv_bias, dtype, rngs)
        self.value = linear(arch.width, num_kv, arch.qkv_bias, dtype, rngs)
        self.output = linear(num_query, arch.width, arch.output_bias, dtype, rngs)
        if arch.qk_norm:
            self.query_norm = norm(arch, arch.head_dim)
            self.key_norm = norm(arch, arch.head_dim)

    def __call__(self, x: Array, context: Context, layer: Layer, drop: Array | None) -> tuple[Array, Taps]:
        arch = self.arch
        heads = (*x.shape[:2], -1, arch.head_dim)
        query, key, value = (f(x).reshape(heads) for f in (self.query, self.key, self.value))
        if arch.qk_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        if context.rope is not None:
            query, key = rotate(query, *context.rope), rotate(key, *context.rope)
        seen = allowed(context.mask, arch.causal, layer.window)
        mixed = attend(query, key, value, seen, layer.scale, arch.attention_dropout, drop)
        return self.output(mixed), {"attention/query/kernel": x, "attention/output/kernel": mixed}


class Mlp(nnx.Module):
    """down(act(up x)), or down(act(gate x) * up x)."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch = arch
        if arch.gated:
            self.gate = linear(arch.width, arch.mlp_dim, arch.mlp_bias, dtype, rngs)
        self.up = linear(arch.width, arch.mlp_dim, arch.mlp_bias, dtype, rngs)
        self.down = linear(arch.mlp_dim, arch.width, arch.mlp_bias, dtype, rngs)

    def __call__(self, x: Array) -> tuple[Array, Taps]:
        act = ACTIVATIONS[self.arch.activation]
        inner = act(self.gate(x)) * self.up(x) if self.arch.gated else act(self.up(x))
        return self.down(inner), {"mlp/up/kernel": x, "mlp/down/kernel": inner}


class Block(nnx.Module):
    """x + attention + MLP. `residual` says where the norms stand:

    pre: x += attention(norm x), then x += mlp(norm x).    parallel: x += attention(norm x) + mlp(norm x), norms apart.
    post: x = norm(x + attention x), then x = norm(x + mlp x).
    """

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch = arch
        self.attention = Attention(arch, dtype, rngs)
        self.mlp = Mlp(arch, dtype, rngs)
        self.attention_norm = norm(arch)
        self.mlp_norm = norm(arch)

    def __call__(self, x: Array, context: Context, layer: Layer) -> tuple[Array, Taps]:
        rate, residual = self.arch.dropout, self.arch.residual
        keys: tuple[Array | None, ...] = (None, None, None)
        if context.dropout_key is not None:
            keys = tuple(jax.random.split(jax.random.fold_in(context.dropout_key, layer.number), 3))
        mixed, taps = self.attention(
            x if residual == "post" else self.attention_norm(x), context, layer, keys[0]
        )
        mixed = dropout(mixed, rate, keys[1])
        if residual == "post":
            x = self.attention_norm(x + mixed)
            out, more = self.mlp(x)
            return self.mlp_norm(x + dropout(out, rate, keys[2])), taps | more
        out, more = self.mlp(self.mlp_norm(x if residual == "parallel" else x + mixed))
        return x + mixed + dropout(out, rate, keys[2]), taps | more
