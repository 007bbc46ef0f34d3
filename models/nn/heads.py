"""What reads the last hidden states: language models, masked language models, pooler and classifier."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.context import Context, Taps, norm
from eigensweep.models.nn.layers import ACTIVATIONS, Norm, dropout, linear, soft_cap
from eigensweep.models.nn.losses import Losses, chunk_size, in_chunks, of_rows, score_logits, token_losses

HEADS = ("unembedding", "pooler", "mlm", "classifier")  # what a checkpoint may or may not have
HEAD_KEYS = ("final_norm", *HEADS)


class Output(NamedTuple):
    """One forward pass. What was not asked for, or what the model has not, is None."""

    logits: Array | None  # float32: (B, T, vocab) of a language or masked-language head, (B, labels) of a classifier
    hidden: Array  # (B, T, d): the last block's output, after the final norm where there is one
    pooled: Array | None  # (B, d): tanh(pooler(first token)); RoBERTa's classifier reads the first token itself
    hidden_states: tuple[Array, ...] | None  # the embedding's output and each block's, the last one normed: L + 1
    taps: Taps | None  # canonical kernel path -> the activations (B, T, d_in) entering it
    losses: Losses | None = None  # of every row, in place of logits, where targets were given


class MaskedHead(nnx.Module):
    """decoder(norm(act(dense x))) + bias; with `table`, the embedding (vocab, e), the decoder is tied to it."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch = arch
        width = arch.embedding_width or arch.width
        self.dense = linear(arch.width, width, True, dtype, rngs)
        self.norm = Norm("layer", width, arch.norm_eps)  # behind an activation, also where the stream has lost its mean
        if not arch.tied:
            self.decoder = linear(width, arch.vocab_size, False, dtype, rngs)
        self.bias = nnx.Param(jnp.zeros((arch.vocab_size,), jnp.float32))

    def __call__(self, x: Array, table: Array | None) -> tuple[Array, Taps]:
        y = self.norm(ACTIVATIONS[self.arch.mlm_activation](self.dense(x)))
        logits = self.decoder(y) if table is None else y @ table.T.astype(y.dtype)
        taps = {"mlm/dense/kernel": x, "mlm/decoder/kernel": y}
        return logits.astype(jnp.float32) + self.bias[...].astype(jnp.float32), taps


class Classifier(nnx.Module):
    """BERT: output(pooled). RoBERTa, DistilBERT, ELECTRA: output(act(dense(first token)))."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch = arch
        if arch.classifier_dense:
            self.dense = linear(arch.width, arch.width, True, dtype, rngs)
        self.output = linear(arch.width, arch.num_labels, True, dtype, rngs)

    def __call__(self, x: Array, key: Array | None) -> tuple[Array, Taps]:
        keys = (None, None) if key is None else jax.random.split(key)
        taps: Taps = {}
        arch = self.arch
        if arch.family != "distilbert":  # drops out once, behind its dense layer
            x = dropout(x, arch.classifier_dropout, keys[0])
        if arch.classifier_dense:
            taps["classifier/dense/kernel"] = x
            x = dropout(ACTIVATIONS[arch.classifier_activation](self.dense(x)), arch.classifier_dropout, keys[1])
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
            logits = soft_cap(logits.astype(jnp.float32), self.arch.logit_cap)
            return Output(logits, x, None, None, {"unembedding/kernel": x})
        if head == "mlm":
            logits, taps = self.mlm(x, table)
            return Output(logits, x, None, None, taps)
        return Output(None, x, None, None, {})

    def scored(self, x: Array, context: Context, table: Array | None, head: str | None, targets: Array) -> Output:
        """`__call__` with the losses of these targets, (B, T) or (B,), in place of the logits.

        Of a large vocabulary the logits of some tokens at a time are made, and made again in a backward pass.
        """
        classes = self.arch.vocab_size if head in ("unembedding", "mlm") else 0
        size = chunk_size(x.shape[0], classes)
        if not classes or x.shape[1] <= size:
            output = self(x, context, table, head)
            losses = None if output.logits is None else score_logits(output.logits, targets)
            return output._replace(logits=None, losses=losses)

        def some(x: Array, targets: Array) -> tuple[Output, Losses]:
            output = self(x, context, table, head)
            return output._replace(logits=None), token_losses(output.logits, targets)

        output, of_tokens = in_chunks(some, size, x, targets)
        return output._replace(losses=of_rows(of_tokens))

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
