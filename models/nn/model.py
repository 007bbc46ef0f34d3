"""A model: Flax NNX modules (embedding stage, blocks, heads) as pure functions of one tree of parameters.

    model = build(config)  # of assemble
    output = model.apply(params, input_ids, attention_mask)
    module = model.module(params)  # the same as one nnx.Module, for nnx.Optimizer, nnx.LoRA, nnx.display

The tree is the canonical one (see `parameters`): `model.abstract()` gives its shapes without allocating anything. All
functions are jit-compiled with the model as a static argument. The blocks of a model share one compiled function, so
that compiling takes the same time at any depth, a new parameter value never recompiles, and a block can run with no
other block in memory. Under a transformation (jit, grad) they are one `lax.scan` over the stacked parameters instead.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.context import Context, Layer, Taps, layer
from eigensweep.models.nn.heads import HEAD_KEYS, HEADS, Head, Output
from eigensweep.models.nn.intervention import Intervention, changed, of_block, read_by_norm
from eigensweep.models.nn.modules import EMBED_KEYS, Block, Embed, Transformer
from eigensweep.models.nn.parameters import Params, check, map_with_path, place
from eigensweep.models.nn.taps import Tapped, kind_of, kinds_of

INIT_STD = 0.02  # BERT's and GPT-2's initializer_range


@dataclass(frozen=True)
class Model:
    """A transformer's functions; hashable, holds no array.

    Attributes:
      architecture: the settings.
      heads: which of HEADS its tree has.
      dtype: of the activations and products; norms, softmax and logits are float32. Parameters keep their own dtype.
    """

    architecture: Architecture
    heads: tuple[str, ...]
    dtype: str = "float32"

    def abstract(self) -> Params:
        """The tree with jax.ShapeDtypeStruct leaves; a new one each time."""
        embed, head = (nnx.to_pure_dict(_definition(self, stage)[1]) for stage in ("embed", "head"))
        stages = [self.stage(i) for i in range(self.architecture.num_blocks)]
        kinds = {stage: nnx.to_pure_dict(_definition(self, stage)[1]) for stage in set(stages)}
        blocks = {str(i): kinds[stage] for i, stage in enumerate(stages)}
        return jax.tree.map(lambda leaf: leaf, {**embed, "blocks": blocks, **head})

    def stage(self, block: int) -> str:
        """Which kind of block this is: "block", or "experts" where its MLP is a mixture of them."""
        return "experts" if self.architecture.has_experts(block) else "block"

    def check(self, params: Mapping[str, Any]) -> None:
        """Raise CheckpointError with every leaf that is missing, extra or of a wrong shape."""
        leaves, form = jax.tree.flatten(dict(params))
        _check(self, form, tuple(np.shape(leaf) for leaf in leaves))

    def init(self, seed: int = 0) -> Params:
        """Random parameters, float32: kernels and tables N(0, 0.02^2), norms the identity, biases 0.

        Each leaf draws from (seed, its path): it does not depend on what else is in the tree.
        """

        def draw(path: str, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
            name = path.split("/")[-1]
            if name in ("scale", "bias"):
                one = name == "scale" and self.architecture.norm != "rms_plus_one"
                return np.full(leaf.shape, one, np.float32)
            generator = np.random.default_rng((seed, zlib.crc32(path.encode())))
            return np.float32(INIT_STD) * generator.standard_normal(leaf.shape, np.float32)

        return place(map_with_path(draw, self.abstract()))

    def is_tied(self, head: str | None) -> bool:
        """Whether this head's kernel is the embedding's transpose."""
        stored = head == "unembedding" and head in self.heads
        return self.architecture.tied and head in ("unembedding", "mlm") and not stored

    def head(self, name: str | None = "default") -> str | None:
        """The head to run: the default is the classifier, else the language model, else the pooler, else none.

        Raises:
          CheckpointError: the model has no such head.
        """
        written = self.architecture.causal and self.architecture.tied  # by the embedding
        present = [head for head in HEADS if head in self.heads or (head == "unembedding" and written)]
        if name == "default":
            order = ("classifier", "mlm", "unembedding", "pooler")
            return next((head for head in order if head in present), None)
        if name is not None and name not in present:
            have = ", ".join(present) or "none"
            raise CheckpointError(f"the checkpoint has no {name!r} head, which this needs; heads it has: {have}")
        if name == "classifier" and not self.architecture.classifier_dense and "pooler" not in self.heads:
            raise CheckpointError("the classifier reads the pooler's output, and there is no pooler")
        return name

    @partial(jax.jit, static_argnums=0)
    def embed(
        self,
        params: Params,
        input_ids: Any,
        attention_mask: Any = None,
        *,
        type_ids: Any = None,
        positions: Any = None,
        dropout_key: Array | None = None,
    ) -> tuple[Array, Context]:
        """The residual stream (B, T, d) that enters block 0, and what all blocks share; arguments as `apply`'s.

        `params` needs only the EMBED_KEYS of the tree.
        """
        input_ids, mask = self.inputs(input_ids, attention_mask)
        stage = _merge(self, "embed", _pick(params, EMBED_KEYS))
        return stage(input_ids, mask.astype(bool), type_ids, positions, dropout_key)

    def block(
        self,
        params: Params,
        index: int,
        x: Array,
        context: Context,
        taps: Tapped = False,
        intervention: Intervention | None = None,
    ) -> tuple[Array, Taps]:
        """Block `index` on the residual stream; `params` is its subtree alone, tap paths are relative to it.

        The intervention is that of the whole model.
        """
        own = of_block(intervention, index)
        return _block(self, params, layer(self.architecture, index), x, context, kinds_of(taps), own)

    @partial(jax.jit, static_argnames=("self", "head", "taps"))
    def unembed(
        self,
        params: Params,
        x: Array,
        context: Context,
        head: str | None = "default",
        taps: Tapped = False,
        intervention: Intervention | None = None,
        targets: Any = None,
    ) -> Output:
        """The heads on the last block's output. `params` needs the HEAD_KEYS, and "embedding" where that is tied.

        Only what the intervention does behind the last block is done here. With targets: see `apply`.
        """
        x = changed(x, intervention, -1)
        if self.architecture.causal:  # there is a final norm
            x = read_by_norm(x, intervention, -1)
        name, module = self.head(head), _merge(self, "head", _pick(params, HEAD_KEYS))
        table = None
        if self.is_tied(name):
            if "embedding" not in params:
                raise CheckpointError(f"the head {name!r} is tied to the embedding, which unembed was not given")
            table = params["embedding"]["embedding"]
        with jax.default_matmul_precision("highest"):  # float32 products are float32 on every device
            where = (x, context, table, name)
            output = module(*where) if targets is None else module.scored(*where, targets)
        return output if "inputs" in kinds_of(taps) else output._replace(taps=None)

    def apply(
        self,
        params: Params,
        input_ids: Any,
        attention_mask: Any = None,
        *,
        type_ids: Any = None,
        positions: Any = None,
        dropout_key: Array | None = None,
        head: str | None = "default",
        hidden_states: bool = False,
        taps: Tapped = False,
        intervention: Intervention | None = None,
        targets: Any = None,
    ) -> Output:
        """The whole forward pass.

        Args:
          params: the canonical tree.
          input_ids: (B, T) int. An id outside the vocabulary gives NaN.
          attention_mask: (B, T), true or 1 for tokens, on either side of the padding; None: no padding.
          type_ids: (B, T) int, for encoders; None: zeros.
          positions: (B, T) int; None: each text's tokens are counted from 0.
          dropout_key: encoders drop out as in training with a key; None: not. jax.random.key(seed, impl="rbg") compiles
            and draws several times faster than the default.
          head: "unembedding", "mlm", "classifier", "pooler", None, or "default" (see `head`).
          hidden_states: return them, as each block leaves them, before an intervention.
          taps: return these kinds ("inputs", "stream", "updates"; True: inputs), behind an intervention.
          intervention: on the residual stream, at all its positions.
          targets: (B, T), of a classifier (B,), IGNORE where there is none: the losses of the rows come in place of the
            logits, which are never there as a whole.

        Returns:
          Output. Hidden states, logits and taps at padded positions are defined but meaningless.

        Raises:
          CheckpointError: the parameters do not fit, or there is no such head.
          ValueError: shapes, or a text longer than the position table.
        """
        name, arch = self.head(head), self.architecture
        self.check(params)
        if intervention is not None:
            intervention.check(arch.num_blocks, arch.width)
        x, context = self.embed(
            _pick(params, EMBED_KEYS), *self.inputs(input_ids, attention_mask),
            type_ids=type_ids, positions=positions, dropout_key=dropout_key,
        )  # fmt: skip
        kinds = kinds_of(taps)
        blocks = [(params["blocks"][str(i)], layer(arch, i), of_block(intervention, i)) for i in range(arch.num_blocks)]
        kept: list[tuple[Array | None, Taps]] = []

        def step(x: Array, block: Any) -> tuple[Array, tuple[Array | None, Taps]]:
            block_params, settings, change = block
            y, found = _block(self, block_params, settings, x, context, kinds, change)
            return y, (x if hidden_states else None, found)

        alike = len({self.stage(i) for i in range(arch.num_blocks)}) == 1
        if alike and any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, x))):
            # one loop over a copy of the blocks: what is compiled does not grow with their number
            x, stack = jax.lax.scan(step, x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks))
            kept = [jax.tree.map(lambda leaf, i=i: leaf[i], stack) for i in range(arch.num_blocks)]
        else:
            for block in blocks:
                x, one = step(x, block)
                kept.append(one)
        output = self.unembed(_pick(params, (*HEAD_KEYS, "embedding")), x, context, name, kinds, intervention, targets)
        tapped = {f"blocks/{i}/{path}": value for i, (_, found) in enumerate(kept) for path, value in found.items()}
        return output._replace(
            hidden_states=(*(state for state, _ in kept), output.hidden) if hidden_states else None,
            taps=tapped | (output.taps or {}) if kinds else None,
        )

    def module(self, params: Params) -> Transformer:
        """The whole model as one nnx.Module on these parameters, `module(input_ids, attention_mask)` -> Output.

        `params_of(module)` gives the canonical tree back, for `write_trained` or a sweep.

        Raises:
          CheckpointError: the parameters do not fit.
        """
        self.check(params)
        params = jax.tree.map(jnp.asarray, params)
        return Transformer(
            _merge(self, "embed", _pick(params, EMBED_KEYS)),
            [_merge(self, self.stage(i), params["blocks"][str(i)]) for i in range(self.architecture.num_blocks)],
            _merge(self, "head", _pick(params, HEAD_KEYS)),
            self,
        )

    def inputs(self, input_ids: Any, attention_mask: Any) -> tuple[Any, Any]:
        """Token ids and mask as arrays; ValueError where their shapes do not serve."""
        shape, rows = np.shape(input_ids), self.architecture.max_positions
        if len(shape) != 2:
            raise ValueError(f"input_ids: expected (batch, tokens), got shape {shape}")
        if attention_mask is not None and np.shape(attention_mask) != shape:
            raise ValueError(f"attention_mask: expected {shape} as input_ids, got {np.shape(attention_mask)}")
        if self.architecture.position_rows and shape[1] > rows:
            raise ValueError(f"input_ids: {shape[1]} tokens, but the model has positions for {rows}")
        mask = np.ones(shape, bool) if attention_mask is None else attention_mask
        return _array(input_ids), _array(mask)


def _array(value: Any) -> Any:
    return value if hasattr(value, "dtype") else np.asarray(value)


def _pick(params: Mapping[str, Any], keys: tuple[str, ...]) -> Params:
    return {key: params[key] for key in keys if key in params}


def _module(model: Model, stage: str, rngs: nnx.Rngs) -> nnx.Module:
    if stage == "embed":
        return Embed(model.architecture, model.dtype, rngs)
    if stage in ("block", "experts"):
        return Block(model.architecture, model.dtype, rngs, experts=stage == "experts")
    return Head(model.architecture, model.heads, model.dtype, rngs)


@lru_cache(maxsize=64)
def _check(model: Model, form: Any, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Once for every form of a tree."""
    params = jax.tree.unflatten(form, [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes])
    check(params, model.abstract())


@lru_cache(maxsize=64)
def _definition(model: Model, stage: str) -> tuple[nnx.GraphDef, nnx.State]:
    """The stage's structure and the shapes of its parameters."""
    return nnx.split(nnx.eval_shape(lambda: _module(model, stage, nnx.Rngs(0))))


def _merge(model: Model, stage: str, params: Mapping[str, Any]) -> Any:
    """The stage's module over these parameters; runs once a compilation."""
    definition, state = _definition(model, stage)
    check(params, nnx.to_pure_dict(state))
    return nnx.merge(definition, params)


@partial(jax.jit, static_argnums=(0, 5))
def _block(
    model: Model,
    params: Params,
    layer: Layer,
    x: Array,
    context: Context,
    kinds: tuple[str, ...],
    intervention: Intervention | None,
) -> tuple[Array, Taps]:
    module = _merge(model, "experts" if "moe" in params else "block", params)
    with jax.default_matmul_precision("highest"):  # float32 products are float32 on every device
        x, tapped = module(x, context, layer, "inputs" in kinds, intervention)
    return x, {path: value for path, value in tapped.items() if kind_of(path) in kinds}
