"""The modules of every family: the embedding stage, one block, the heads that read the last hidden states, the whole.

Modules also return their taps, the activations that enter their linear layers. A compiled function that does not
return them never computes a copy, so they cost nothing where nobody asks.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.layers import ACTIVATIONS, Norm, angles, dropout, embedding, linear, rotate

Taps = dict[str, Array]
EMBED_KEYS = ("embedding", "position_embedding", "type_embedding", "embedding_norm")
HEADS = ("unembedding", "pooler", "mlm", "classifier")  # what a checkpoint may or may not have
HEAD_KEYS = ("final_norm", *HEADS)


class Context(NamedTuple):
    """What every block of one forward pass shares."""

    mask: Array  # (B, T) bool, True for tokens, False for padding
    rope: tuple[Array, Array] | None  # cos, sin (B, T, dim/2)
    dropout_key: Array | None  # None: no dropout


class Layer(NamedTuple):
    """What distinguishes one block from the next besides its parameters; traced, so that all share one compilation."""

    number: Any  # int32, which block
    window: Any  # int32, tokens seen backwards, itself included
    scale: Any  # float32, multiplies q . k


def layer(architecture: Architecture, index: int) -> Layer:
    """The settings of block `index`."""
    return Layer(
        np.int32(index), np.int32(architecture.windows[index]), np.float32(architecture.attention_scales[index])
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
    query: Array, key: Array, value: Array, seen: Array, scale: Array, rate: float = 0.0, drop: Array | None = None
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
    chex.assert_shape([key, value], (batch, num_tokens, None, head_dim))
    chex.assert_shape(seen, (batch, num_tokens, num_tokens))
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
        mixed, taps = self.attention(x if residual == "post" else self.attention_norm(x), context, layer, keys[0])
        mixed = dropout(mixed, rate, keys[1])
        if residual == "post":
            x = self.attention_norm(x + mixed)
            out, more = self.mlp(x)
            return self.mlp_norm(x + dropout(out, rate, keys[2])), taps | more
        out, more = self.mlp(self.mlp_norm(x if residual == "parallel" else x + mixed))
        return x + mixed + dropout(out, rate, keys[2]), taps | more


class Output(NamedTuple):
    """One forward pass. What was not asked for, or what the model has not, is None."""

    logits: Array | None  # float32: (B, T, vocab) of a language or masked-language head, (B, labels) of a classifier
    hidden: Array  # (B, T, d): the last block's output, after the final norm where there is one
    pooled: Array | None  # (B, d): tanh(pooler(first token)); RoBERTa's classifier reads the first token itself
    hidden_states: tuple[Array, ...] | None  # the embedding's output and each block's, the last one normed: L + 1
    taps: Taps | None  # canonical kernel path -> the activations (B, T, d_in) entering it


class Embed(nnx.Module):
    """Token, position and type embeddings, the positions, and what the blocks share."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch, self.dtype = arch, dtype
        self.embedding = embedding(arch.vocab_size, arch.width, dtype, rngs)
        if arch.position_rows:
            self.position_embedding = embedding(arch.position_rows, arch.width, dtype, rngs)
        if arch.type_rows:
            self.type_embedding = embedding(arch.type_rows, arch.width, dtype, rngs)
        if arch.residual == "post":
            self.embedding_norm = norm(arch)

    def __call__(
        self, input_ids: Array, mask: Array, type_ids: Array | None, positions: Array | None, key: Array | None
    ) -> tuple[Array, Context]:
        arch = self.arch
        if positions is None:  # count tokens, not padding: the same on either side
            positions = jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)
        x = self.embedding(input_ids) * jnp.asarray(arch.embedding_scale, self.dtype)
        if arch.type_rows:
            x = x + self.type_embedding(jnp.zeros_like(input_ids) if type_ids is None else type_ids)
        if arch.position_rows:
            x = x + self.position_embedding(positions + arch.position_offset)
        if arch.residual == "post":
            x = self.embedding_norm(x)
        if key is not None:
            x = dropout(x, arch.dropout, jax.random.fold_in(key, arch.num_blocks))
        return x, Context(mask, None if arch.rope is None else angles(arch.rope, positions), key)


class MaskedHead(nnx.Module):
    """decoder(norm(act(dense x))) + bias; with `table`, the embedding (vocab, d), the decoder is tied to it."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch = arch
        self.dense = linear(arch.width, arch.width, True, dtype, rngs)
        self.norm = norm(arch)
        if not arch.tied:
            self.decoder = linear(arch.width, arch.vocab_size, False, dtype, rngs)
        self.bias = nnx.Param(jnp.zeros((arch.vocab_size,), jnp.float32))

    def __call__(self, x: Array, table: Array | None) -> tuple[Array, Taps]:
        y = self.norm(ACTIVATIONS[self.arch.mlm_activation](self.dense(x)))
        logits = self.decoder(y) if table is None else y @ table.T.astype(y.dtype)
        taps = {"mlm/dense/kernel": x, "mlm/decoder/kernel": y}
        return logits.astype(jnp.float32) + self.bias[...].astype(jnp.float32), taps


class Classifier(nnx.Module):
    """BERT: output(pooled). RoBERTa: output(tanh(dense(first token)))."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch = arch
        if arch.classifier_dense:
            self.dense = linear(arch.width, arch.width, True, dtype, rngs)
        self.output = linear(arch.width, arch.num_labels, True, dtype, rngs)

    def __call__(self, x: Array, key: Array | None) -> tuple[Array, Taps]:
        keys = (None, None) if key is None else jax.random.split(key)
        taps: Taps = {}
        x = dropout(x, self.arch.classifier_dropout, keys[0])
        if self.arch.classifier_dense:
            taps["classifier/dense/kernel"] = x
            x = dropout(jnp.tanh(self.dense(x)), self.arch.classifier_dropout, keys[1])
        taps["classifier/output/kernel"] = x
        return self.output(x).astype(jnp.float32), taps


class Head(nnx.Module):
    """Everything after the blocks. `table` is the embedding (vocab, d) where a head is tied to it, else None."""

    def __init__(self, arch: Architecture, heads: tuple[str, ...], dtype: str, rngs: nnx.Rngs):
        self.arch, self.heads = arch, heads
        if arch.causal:
            self.final_norm = norm(arch)
        if "unembedding" in heads:
            self.unembedding = linear(arch.width, arch.vocab_size, False, dtype, rngs)
        if "pooler" in heads:
            self.pooler = linear(arch.width, arch.width, True, dtype, rngs)
        if "mlm" in heads:
            self.mlm = MaskedHead(arch, dtype, rngs)
        if "classifier" in heads:
            self.classifier = Classifier(arch, dtype, rngs)

    def __call__(self, x: Array, context: Context, table: Array | None, head: str | None) -> Output:
        if self.arch.causal:
            x = self.final_norm(x)
        if head in ("pooler", "classifier"):
            return self._first_token(x, context, head)
        if head == "unembedding":
            logits = self.unembedding(x) if table is None else x @ table.T.astype(x.dtype)
            return Output(logits.astype(jnp.float32), x, None, None, {"unembedding/kernel": x})
        if head == "mlm":
            logits, taps = self.mlm(x, table)
            return Output(logits, x, None, None, taps)
        return Output(None, x, None, None, {})

    def _first_token(self, x: Array, context: Context, head: str) -> Output:
        """The pooler and the classifier read each text's first token, wherever the padding ends."""
        taps: Taps = {}
        pooled = x[jnp.arange(x.shape[0]), jnp.argmax(context.mask, axis=1)]
        if head == "pooler" or not self.arch.classifier_dense:
            taps["pooler/kernel"] = pooled
            pooled = jnp.tanh(self.pooler(pooled))
        if head == "pooler":
            return Output(None, x, pooled, None, taps)
        key = context.dropout_key
        key = None if key is None else jax.random.fold_in(key, self.arch.num_blocks + 1)
        logits, more = self.classifier(pooled, key)
        return Output(logits, x, pooled, None, taps | more)


class Transformer(nnx.Module):
    """A whole model: embedding stage, blocks, heads; each can be trained, or replaced by another layer.

    Compiled as a whole it is unrolled: `Model.apply` compiles faster where the model is deep.
    """

    def __init__(self, embed: Embed, blocks: list[Block], head: Head, model: Any):
        self.embed, self.blocks, self.head = embed, nnx.List(blocks), head
        self.model = model  # the functional one, for its settings

    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        *,
        type_ids: Array | None = None,
        positions: Array | None = None,
        dropout_key: Array | None = None,
        head: str | None = "default",
    ) -> Output:
        """As `Model.apply`, without hidden states and taps."""
        name, arch = self.model.head(head), self.model.architecture
        input_ids, mask = self.model.inputs(input_ids, attention_mask)
        x, context = self.embed(input_ids, mask.astype(bool), type_ids, positions, dropout_key)
        with jax.default_matmul_precision("highest"):  # float32 products are float32 on every device
            for i, block in enumerate(self.blocks):
                x, _ = block(x, context, layer(arch, i))
            table = self.embed.embedding.embedding[...] if self.model.is_tied(name) else None
            return self.head(x, context, table, name)._replace(taps=None)
