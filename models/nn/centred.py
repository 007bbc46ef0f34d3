"""LayerNorm models written with RMSNorm: the mean is taken out of the weights in place of the activations.

LayerNorm is RMSNorm of M x, M = I - 1 1^T/d. Where the stream is a sum x_0 + sum of what attention and MLP write, M
goes into whatever writes: tables E M, output kernels (in, out) W M and their biases b M. Then M x = x, and

    LayerNorm(x) = g * x / sqrt(mean x^2 + eps) + b,

an RMSNorm with a bias. In post-norm models the norm's output is itself the next summand: its gain and bias stay where
they are, and what passes a block by loses its mean there (`modules.Block`). A head that is tied to the embedding gets
the table as it was, as a kernel of its own. Ashkboos et al. 2024 (SliceGPT, arXiv 2401.15024), section 3.1.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.nn.heads import HEADS
from eigensweep.models.nn.load import Read, reader_of
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, map_with_path

_TABLES = ("embedding/embedding", "position_embedding/embedding", "type_embedding/embedding")
_WRITERS = ("attention/output/", "mlp/down/")


def rms_model(model: Model) -> Model:
    """The model whose parameters `rms_parameters` gives; itself where its norms are no LayerNorms."""
    arch = model.architecture
    if arch.norm != "layer":
        return model
    wanted = (*model.heads, "unembedding") if model.is_tied("unembedding") and arch.causal else model.heads
    heads = tuple(head for head in HEADS if head in wanted)
    return replace(model, architecture=replace(arch, norm="rms_shift", tied=False), heads=heads)


def rms_parameters(model: Model, params: Mapping[str, Any]) -> Params:
    """The tree of `rms_model(model)` that computes what `params` does; itself where the norms are no LayerNorms.

    In training with dropout the two differ: what is dropped has a mean again.
    """
    if model.architecture.norm != "layer":
        return dict(params)
    read = rms_reader(model, reader_of(params, model))
    blocks = {str(i): read(f"blocks/{i}") for i in range(model.architecture.num_blocks)}
    return {**read("embed"), "blocks": blocks, **read("head")}


def rms_reader(model: Model, read: Read) -> Read:
    """The same part by part, for models of which one part at a time is in memory."""
    if model.architecture.norm != "layer":
        return read

    def rewritten(part: str) -> Params:
        params = read(part)
        if part == "head":
            return _untied(model, params)
        writes = _TABLES if part == "embed" else _WRITERS
        return map_with_path(lambda path, leaf: _centred(leaf) if path.startswith(writes) else leaf, params)

    return rewritten


def _centred(leaf: Any) -> Any:
    """The mean over the last axis, the stream's, taken away; in float32, in the leaf's own dtype again."""
    x = leaf.astype("float32")
    return (x - x.mean(-1, keepdims=True)).astype(leaf.dtype)


def _untied(model: Model, params: Params) -> Params:
    """The part of the heads, the table a kernel of the head that is tied to it."""
    kept = {key: value for key, value in params.items() if key != "embedding"}
    if "embedding" in params:
        kernel = {"kernel": params["embedding"]["embedding"].T}
        if "mlm" in kept and model.is_tied("mlm"):
            kept["mlm"] = {**kept["mlm"], "decoder": kernel}
        if model.architecture.causal and model.is_tied("unembedding"):
            kept["unembedding"] = kernel
    return kept
