"""Attention: which keys a query sees, softmax, grouped queries."""

import chex
import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.context import Context, Layer, Taps, norm
from eigensweep.models.nn.layers import dropout, linear, soft_cap
from eigensweep.models.nn.rope import rotate


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
    cap: float = 0.0,
    rate: float = 0.0,
    drop: Array | None = None,
) -> Array:
    """softmax(scale q . k) v with grouped queries: consecutive query heads share a key/value head.

    Args:
      query: (B, T, H, D).
      key, value: (B, T, K, D), K divides H.
      seen: (B, T, T) bool, the keys each query may see. A query that may see none averages all.
      cap: soft cap of the scores; 0: none.
      rate, drop: dropout of the attention weights.

    Returns:
      (B, T, H * D); scores and softmax in float32, the sums in value's dtype.
    """
    batch, num_tokens, num_heads, head_dim = query.shape
    chex.assert_shape([key, value], (batch, num_tokens, None, head_dim))
    chex.assert_shape(seen, (batch, num_tokens, num_tokens))
    groups = query.reshape(batch, num_tokens, key.shape[2], -1, head_dim)
    scores = jnp.einsum("btkgd,bskd->bkgts", groups, key, preferred_element_type=jnp.float32) * scale
    scores = soft_cap(scores, cap)
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
            self.query_norm = norm(arch, arch.head_dim if arch.qk_norm == "head" else num_query)
            self.key_norm = norm(arch, arch.head_dim if arch.qk_norm == "head" else num_kv)

    def __call__(self, x: Array, context: Context, layer: Layer, drop: Array | None) -> tuple[Array, Taps]:
        arch = self.arch
        heads = (*x.shape[:2], -1, arch.head_dim)
        query, key, value = self.query(x), self.key(x), self.value(x)
        if arch.qk_norm == "whole":
            query, key = self.query_norm(query), self.key_norm(key)
        query, key, value = (part.reshape(heads) for part in (query, key, value))
        if arch.qk_norm == "head":
            query, key = self.query_norm(query), self.key_norm(key)
        if context.rope is not None:
            cos, sin = (table[layer.rope] for table in context.rope)
            query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        seen = allowed(context.mask, arch.causal, layer.window)
        mixed = attend(query, key, value, seen, layer.scale, arch.attention_cap, arch.attention_dropout, drop)
        return self.output(mixed), {"attention/query/kernel": x, "attention/output/kernel": mixed}
