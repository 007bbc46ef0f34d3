"""The norms that read the residual stream: where they stand, what enters them, their gains.

They are numbered as the places of an `Intervention`: 2 i and 2 i + 1 are block i's of attention and MLP, before them
where the model is pre-norm, behind them where it is post-norm; 2 L is the final norm, which encoders have not.
"""

from collections.abc import Mapping
from typing import Any

from jax import Array

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.context import Taps
from eigensweep.models.nn.load import Read
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, map_with_path

TAPS = ("stream", "updates")
"""The kinds of taps that `norm_inputs` needs."""


def stream_norms(arch: Architecture) -> tuple[str, ...]:
    """The paths of the norms that read the stream, by number.

    Raises:
      CheckpointError: the norms stand elsewhere (OLMo 2 and 3).
    """
    if arch.residual == "output":
        raise CheckpointError(
            f"config.json: the blocks of {arch.family} norm what attention and MLP write, and not the residual stream"
        )
    blocks = [f"blocks/{i}/{name}" for i in range(arch.num_blocks) for name in ("attention_norm", "mlp_norm")]
    return (*blocks, "final_norm") if arch.causal else tuple(blocks)


def norm_inputs(arch: Architecture, block: int, taps: Taps) -> dict[int, Array]:
    """What enters block `block`'s norms (B, T, d), and behind the last block the final norm, by their numbers.

    Args:
      arch: of a model without LayerNorms (`rms_model`): where they are, their inputs still have a mean.
      taps: of TAPS, paths within the block.
    """
    before, after = taps["stream/before"], taps["stream/after"]
    middle = taps.get("stream/middle", before)  # parallel blocks norm the same twice
    if arch.residual == "post":
        skips = [x - x.mean(-1, keepdims=True) if arch.norm == "rms_shift" else x for x in (before, middle)]
        return {2 * block: skips[0] + taps["update/attention"], 2 * block + 1: skips[1] + taps["update/mlp"]}
    last = {2 * arch.num_blocks: after} if block == arch.num_blocks - 1 and arch.causal else {}
    return {2 * block: before, 2 * block + 1: middle, **last}


def with_gains(model: Model, params: Params, factors: Mapping[str, float], prefix: str = "") -> Params:
    """The tree, or a part of it whose paths go on from `prefix`, with norms' gains multiplied; the rest is shared.

    Args:
      factors: by the norms' paths (`stream_norms`).
    """
    less = 1 if model.architecture.norm == "rms_plus_one" else 0

    def scaled(path: str, leaf: Any) -> Any:
        norm, _, name = path.rpartition("/")
        if name != "scale" or norm not in factors:
            return leaf
        return (factors[norm] * (leaf.astype("float32") + less) - less).astype(leaf.dtype)

    return map_with_path(scaled, params, prefix)


def gains_reader(model: Model, read: Read, factors: Mapping[str, float]) -> Read:
    """The same part by part, for models of which one part at a time is in memory."""

    def scaled(part: str) -> Params:
        return with_gains(model, read(part), factors, f"{part}/" if part.startswith("blocks/") else "")

    return scaled
