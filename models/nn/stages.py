"""What stands before and after the blocks: the embedding stage, and the heads that read the last hidden states."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.block import Block, Context, Taps, layer, norm
from eigensweep.models.nn.layers import ACTIVATIONS, angles, dropout, embedding, linear

if TYPE_CHECKING:
    from eigensweep.models.nn.model import Model

EMBED_KEYS = ("embedding", "position_embedding", "type_embedding", "embedding_norm")
HEADS = ("unembedding", "pooler", "mlm", "classifier")  # what a checkpoint may or may not have
HEAD_KEYS = ("final_norm", *HEADS)


class Output(NamedTuple):
    """One forward pass. What was not asked for, or what the model has not, is None."""

    logits: (
        Array | None
    )  # float32: (B, T, vocab) of a language or masked-language head, (B, labels) of a classifier
    hidden: Array  # (B, T, d): the last block's output, after the final norm where there is one
    pooled: (
        Array | None
    )  # (B, d): tanh(pooler(first token)); RoBERTa's classifier reads the first token itself
    hidden_states: (
        tuple[Array, ...] | None
    )  # the embedding's output and each block's, the last one normed: L + 1
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
        self,
        input_ids: Array,
        mask: Array,
        type_ids: Array | None,
        positions: Array | None,
        key: Array | None,
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

    def __init__(self, embed: Embed, blocks: list[Block], head: Head, model: "Model"):
        self.embed, self.blocks, self.head = embed, nnx.List(blocks), head
        self.model = model

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
        tied = name in ("unembedding", "mlm") and self.model.is_tied(name)
        with jax.default_matmul_precision("highest"):  # float32 products are float32 on every device
            for i, block in enumerate(self.blocks):
                x, _ = block(x, context, layer(arch, i))
            table = self.embed.embedding.embedding[...] if tied else None
            return self.head(x, context, table, name)._replace(taps=None)
