"""From an opened checkpoint to a model and its parameters: all of them, or part by part."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
from jax.sharding import Mesh

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.assemble import build
from eigensweep.models.nn.configs import architecture
from eigensweep.models.nn.devices import shardings
from eigensweep.models.nn.heads import HEAD_KEYS, HEADS
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.modules import EMBED_KEYS
from eigensweep.models.nn.parameters import Params, get
from eigensweep.models.params import checked_leaves, nest, refuse_adapter
from eigensweep.models.plan import Leaf

Read = Callable[[str], Params]
"""Gives a part of the parameters, on the host: "embed", "blocks/<i>" or "head"."""


def model_of(checkpoint: Checkpoint, dtype: str = "float32") -> Model:
    """The model that a checkpoint's leaves fit, heads and ties as they are stored. Reads no weight.

    Args:
      checkpoint: of `open_checkpoint`.
      dtype: of the computation, see `build`.

    Raises:
      CheckpointError: no config.json, no forward pass for the architecture, or leaves that do not fit it.
    """
    return _fitted(checkpoint, dtype)[0]


def load(
    checkpoint: Checkpoint, dtype: str = "float32", mesh: Mesh | None = None, param_dtype: str | None = None
) -> tuple[Model, Params]:
    """The model and its parameters on the device, or over a mesh; read, placed and let go of one leaf at a time.

    Args:
      checkpoint: of `open_checkpoint`.
      dtype: of the computation, see `build`.
      mesh: place them by `shardings` over it; None: whole, on the default device.
      param_dtype: cast the parameters to it; None: as stored.

    Raises:
      CheckpointError: see `model_of`.
    """
    model, leaves = _fitted(checkpoint, dtype)
    checkpoint.fetch()
    where = None if mesh is None else shardings(model.abstract(), mesh)

    def put(leaf: Leaf) -> jax.Array:
        array = jax.device_put(leaf.read(), None if where is None else get(where, leaf.path))
        return (array if param_dtype is None else array.astype(param_dtype)).block_until_ready()

    return model, nest({leaf.path: put(leaf) for leaf in leaves})


def reader(checkpoint: Checkpoint, model: Model) -> Read:
    """Reads parts of a checkpoint from its files when they are asked for."""
    leaves = {leaf.path: leaf for leaf in _used(checkpoint)}

    def read(part: str) -> Params:
        keys = part_keys(model, part)
        chosen = nest({path: leaf.read() for path, leaf in leaves.items() if path.startswith(keys)})
        return get(chosen, part) if part.startswith("blocks/") else chosen

    return read


def reader_of(params: Mapping[str, Any], model: Model) -> Read:
    """Parts of a tree that lies in the host's memory."""

    def read(part: str) -> Params:
        if part.startswith("blocks/"):
            return get(params, part)
        return {key[:-1]: params[key[:-1]] for key in part_keys(model, part) if key[:-1] in params}

    return read


def part_keys(model: Model, part: str) -> tuple[str, ...]:
    """What the paths of a part begin with; a head that is tied to the embedding needs that too."""
    if part.startswith("blocks/"):
        return (f"{part}/",)
    tied = any(model.is_tied(head) for head in ("unembedding", "mlm"))
    keys = EMBED_KEYS if part == "embed" else (*HEAD_KEYS, *(("embedding",) if tied else ()))
    return tuple(f"{key}/" for key in keys)


def _fitted(checkpoint: Checkpoint, dtype: str) -> tuple[Model, list[Leaf]]:
    refuse_adapter(checkpoint)
    if checkpoint.config is None:
        raise CheckpointError(f"{checkpoint.source.name}: there is no config.json, which the forward pass needs")
    architecture(checkpoint.config)  # a setting that does not serve is the first thing to say
    leaves = _used(checkpoint)
    tree = nest({leaf.path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves})
    model = build(checkpoint.config, dtype, tuple(head for head in HEADS if head in tree))
    stored_twice = any(matrix.path == "embedding/embedding" and matrix.tied for matrix in checkpoint.matrices)
    own_kernel = "unembedding" in tree or "decoder" in tree.get("mlm", {})
    tied = not own_kernel and (model.architecture.tied or stored_twice)
    num_labels = get(tree, "classifier/output/kernel").shape[1] if "classifier" in tree else 2
    model = replace(model, architecture=replace(model.architecture, tied=tied, num_labels=num_labels))
    model.check(tree)
    return model, leaves


def _used(checkpoint: Checkpoint) -> list[Leaf]:
    """The leaves that the forward pass reads; heads for other tasks (next sentence, spans, tags) are left out."""
    config = checkpoint.config or {}
    name = (config.get("architectures") or ["ForSequenceClassification"])[0]
    leaves = {leaf.path: leaf for leaf in checked_leaves(checkpoint)}
    known = {*EMBED_KEYS, *HEAD_KEYS, "blocks"}
    if architecture(config).causal and any(path.startswith("classifier/") for path in leaves):
        raise CheckpointError(
            f"{checkpoint.source.name}: a task's head on a causal model ({name}) is not supported in forward passes"
        )
    if not name.endswith("ForSequenceClassification"):
        known.remove("classifier")
    decoder_bias = leaves.pop("mlm/decoder/bias", None)
    if decoder_bias:  # where the head's own bias differs from it, transformers reads this one alone
        leaves["mlm/bias"] = replace(decoder_bias, path="mlm/bias")
    return [leaf for path, leaf in leaves.items() if path.split("/")[0] in known]
