"""The modules of every family: the embedding stage, one block, the whole.

Modules also return their taps: the activations that enter their linear layers, the residual stream, what is added to
it. A compiled function that does not return them never computes a copy, so they cost nothing where nobody asks.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.attention import Attention
from eigensweep.models.nn.context import Context, Layer, Taps, layer, norm
from eigensweep.models.nn.heads import Head, Output
from eigensweep.models.nn.intervention import Intervention, changed, read_by_norm
from eigensweep.models.nn.layers import dropout, embedding, linear
from eigensweep.models.nn.mlp import Mixture, Mlp
from eigensweep.models.nn.rope import angles

EMBED_KEYS = ("embedding", "position_embedding", "type_embedding", "embedding_norm", "embedding_projection")


class Block(nnx.Module):
    """x + attention + MLP, or a mixture of experts. `residual` says where the norms stand:

    pre: x += attention(norm x), then x += mlp(norm x).    parallel: x += attention(norm x) + mlp(norm x), norms apart.
    post: x = norm(x + attention x), then x = norm(x + mlp x).    output: x += norm(attention x), then x += norm(mlp x).
    sandwich: x += norm(attention(norm x)), then x += norm(mlp(norm x)).
    """

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs, experts: bool = False):
        self.arch = arch
        self.attention = Attention(arch, dtype, rngs)
        if experts:
            self.moe = Mixture(arch, dtype, rngs)
        else:
            self.mlp = Mlp(arch, dtype, rngs)
        if arch.residual != "output":
            self.attention_norm, self.mlp_norm = norm(arch), norm(arch)
        if arch.residual in ("output", "sandwich"):
            self.attention_post_norm, self.mlp_post_norm = norm(arch), norm(arch)

    def __call__(
        self, x: Array, context: Context, layer: Layer, taps: bool = True, intervention: Intervention | None = None
    ) -> tuple[Array, Taps]:
        """The residual stream behind the block.

        Args:
          x: (B, T, d).
          context, layer: what the blocks share, and what they do not.
          taps: False: those of the experts are not kept.
          intervention: at this block's two positions.
        """
        rate, residual = self.arch.dropout, self.arch.residual
        keys: tuple[Array | None, ...] = (None, None, None)
        if context.dropout_key is not None:
            keys = tuple(jax.random.split(jax.random.fold_in(context.dropout_key, layer.number), 3))
        before = residual in ("pre", "parallel", "sandwich")
        x = changed(x, intervention, 0)
        seen = self.attention_norm(read_by_norm(x, intervention, 0)) if before else x
        mixed, found = self.attention(seen, context, layer, keys[0])
        mixed = dropout(mixed, rate, keys[1])
        if residual in ("output", "sandwich"):
            mixed = self.attention_post_norm(mixed)
        middle = self._skip(x) + mixed
        if residual == "post":
            middle = self.attention_norm(read_by_norm(middle, intervention, 0))
        if residual != "parallel":
            middle = changed(middle, intervention, 1)
            found["stream/middle"] = middle
        seen = x if residual == "parallel" else middle
        out, more = self._mlp(self.mlp_norm(read_by_norm(seen, intervention, 1)) if before else seen, taps)
        out = dropout(out, rate, keys[2])
        if residual in ("output", "sandwich"):
            out = self.mlp_post_norm(out)
        after = self._skip(middle) + out
        if residual == "post":
            after = self.mlp_norm(read_by_norm(after, intervention, 1))
        own = {"stream/before": x, "stream/after": after, "update/attention": mixed, "update/mlp": out}
        return after, found | more | own

    def _skip(self, x: Array) -> Array:
        """What passes a post-norm block by: where its weights write no mean, the gain and bias before it still do."""
        return x - x.mean(-1, keepdims=True) if (self.arch.residual, self.arch.norm) == ("post", "rms_shift") else x

    def _mlp(self, x: Array, taps: bool) -> tuple[Array, Taps]:
        if hasattr(self, "moe"):
            return self.moe(x, taps)
        out, inner = self.mlp(x)
        return out, {"mlp/up/kernel": x, "mlp/down/kernel": inner}


class Embed(nnx.Module):
    """Token, position and type embeddings, the positions, and what the blocks share."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch, self.dtype = arch, dtype
        width = arch.embedding_width or arch.width
        self.embedding = embedding(arch.vocab_size, width, dtype, rngs)
        if arch.position_rows:
            self.position_embedding = embedding(arch.position_rows, width, dtype, rngs)
        if arch.type_rows:
            self.type_embedding = embedding(arch.type_rows, width, dtype, rngs)
        if arch.residual == "post":
            self.embedding_norm = norm(arch, width)
        if arch.embedding_width:
            self.embedding_projection = linear(width, arch.width, True, dtype, rngs)

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
        if arch.embedding_width:
            x = self.embedding_projection(x)
        return x, Context(mask, angles(arch.ropes, positions) if arch.ropes else None, key)


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
