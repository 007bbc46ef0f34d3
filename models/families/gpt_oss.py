"""gpt-oss (OpenAI 2025): stacked experts (experts, in, out) whose gates and ups alternate, and attention sinks."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.decoder_blocks import (
    AFTER,
    ATTENTION,
    BEFORE,
    BLOCK_NORMS,
    MLP,
    PREFIXES,
    attention_rules,
    blocks_of,
    gate_up,
)
from eigensweep.models.families.mixtures import moe_dims
from eigensweep.models.families.rules import Dims, Family, Layout, Part, Rule, linear, sizes, vector

_EXPERTS, _EXPERT = f"{MLP}.experts", "blocks/{b}/moe/experts/{e}"
_BIASES = "the biases of all experts, no linear map"


def _dims(config: Mapping[str, Any]) -> Dims:
    blocks = frozenset(blocks_of(config))
    return moe_dims(config, config["intermediate_size"], blocks, reads=("attention_bias",))


def _stacked(name: str, shape: tuple[str, ...], parts: tuple[Part, ...], groups: str = "") -> Rule:
    layout: Layout = "conv1d" if len(shape) == 3 else "vector"
    reason = "" if layout == "conv1d" else _BIASES
    return Rule(f"{_EXPERTS}.{name}", shape, parts, layout, groups=groups, stacked=True, reason=reason)


GPT_OSS = Family(
    name="gpt_oss",
    model_types=("gpt_oss",),
    defaults={
        **sizes(201088, 2880, 2880, 36, 64, num_key_value_heads=8, head_dim=64, num_local_experts=128),
        "attention_bias": True,
        "tie_word_embeddings": False,
    },
    dims=_dims,
    rules=(
        *BEFORE,
        *attention_rules(),
        vector(f"{ATTENTION}.sinks", "blocks/{b}/attention/sinks", "heads"),
        *linear(f"{MLP}.router", "blocks/{b}/moe/router", "other", "experts", "d", "always"),
        _stacked("gate_up_proj", ("experts", "d", "2moe_mlp"), gate_up(_EXPERT, "moe_mlp"), "moe_mlp"),
        _stacked("gate_up_proj_bias", ("experts", "2moe_mlp"), gate_up(_EXPERT, "moe_mlp", "bias"), "moe_mlp"),
        _stacked("down_proj", ("experts", "moe_mlp", "d"), (Part(f"{_EXPERT}/down/kernel", "mlp_down"),)),
        _stacked("down_proj_bias", ("experts", "d"), (Part(f"{_EXPERT}/down/bias"),)),
        *BLOCK_NORMS,
        *AFTER,
    ),
    renames=PREFIXES,
)
