"""Mixtures of experts: Mixtral (Jiang et al. 2024), Qwen2-MoE, Qwen3-MoE.

The hub's files hold one tensor an expert and projection; modules of transformers 5 hold them stacked,
`experts.gate_up_proj` (experts, 2 moe, d), gate first, and `experts.down_proj` (experts, d, moe). Both fill the
same leaves.
"""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.decoders import (
    AFTER,
    BEFORE,
    BLOCK_NORMS,
    RENAMES,
    attention_rules,
    decoder_dims,
    mlp_rules,
)
from eigensweep.models.families.rules import Dims, Family, Part, Rule, linear, sizes

_MLP, _MOE = "layers.{b}.mlp", "blocks/{b}/moe"
_EXPERT = f"{_MOE}/experts/{{e}}"
_EXPERT_RULES = (
    *linear(f"{_MLP}.gate", f"{_MOE}/router", "other", "experts", "d", when="moe"),
    *mlp_rules(f"{_MLP}.experts.{{e}}", _EXPERT, "moe_mlp", None, "moe"),
    Rule(
        f"{_MLP}.experts.gate_up_proj",
        ("experts", "2moe_mlp", "d"),
        tuple(
            Part(f"{_EXPERT}/{share}/kernel", f"mlp_{share}", share, "moe_mlp") for share in ("gate", "up")
        ),
        "linear",
        stacked=True,
        when="moe",
    ),
    Rule(
        f"{_MLP}.experts.down_proj",
        ("experts", "d", "moe_mlp"),
        (Part(f"{_EXPERT}/down/kernel", "mlp_down"),),
        "linear",
        stacked=True,
        when="moe",
    ),
    *mlp_rules(f"{_MLP}.shared_expert", f"{_MOE}/shared", "shared_mlp", None, "shared"),
    *linear(f"{_MLP}.shared_expert_gate", f"{_MOE}/shared_gate", "other", "one", "d", when="shared"),
)
_RULES = (*BEFORE, *attention_rules(), *mlp_rules(when="dense"), *_EXPERT_RULES, *BLOCK_NORMS, *AFTER)


def _dims(
    config: Mapping[str, Any], moe_mlp: int, moe: frozenset[int], shared_mlp: int = 0, **flags: Any
) -> dict[str, Any]:
    """Sizes of a decoder with experts in the blocks `moe`; no shared expert where `shared_mlp` is 0."""
    dims = decoder_dims(config, **flags)
    return {
        **dims,
        "experts": config.get("num_experts", config.get("num_local_experts")),
        "moe_mlp": moe_mlp,
        "2moe_mlp": 2 * moe_mlp,
        "shared_mlp": shared_mlp,
        "one": 1,
        "moe": moe,
        "dense": frozenset(range(dims["blocks"])) - moe,
        "shared": moe if shared_mlp else frozenset(),
    }


def _mixtral_dims(config: Mapping[str, Any]) -> Dims:
    return _dims(config, config["intermediate_size"], frozenset(range(config["num_hidden_layers"])))


def _sparse_blocks(config: Mapping[str, Any]) -> frozenset[int]:
    step, dense = config.get("decoder_sparse_step", 1), config.get("mlp_only_layers") or ()
    return frozenset(b for b in range(config["num_hidden_layers"]) if b not in dense and (b + 1) % step == 0)


def _qwen2_moe_dims(config: Mapping[str, Any]) -> Dims:
    moe, shared = config["moe_intermediate_size"], config["shared_expert_intermediate_size"]
    biased = bool(config.get("qkv_bias", True))
    return _dims(config, moe, _sparse_blocks(config), shared, qkv_bias=biased)


def _qwen3_moe_dims(config: Mapping[str, Any]) -> Dims:
    moe = config["moe_intermediate_size"]
    return _dims(config, moe, _sparse_blocks(config), reads=("attention_bias",), qk_norm=True)


MIXTRAL = Family(
    name="mixtral",
    model_types=("mixtral",),
    defaults=sizes(
        32000, 4096, 14336, 32, 32, num_key_value_heads=8, num_local_experts=8, tie_word_embeddings=False
    ),
    dims=_mixtral_dims,
    rules=_RULES,
    renames=(
        *RENAMES,
        (r"(layers\.\d+)\.block_sparse_moe\.(.*)", r"\1.mlp.\2"),
        (r"(.*\.experts\.\d+)\.w1\.weight", r"\1.gate_proj.weight"),
        (r"(.*\.experts\.\d+)\.w2\.weight", r"\1.down_proj.weight"),
        (r"(.*\.experts\.\d+)\.w3\.weight", r"\1.up_proj.weight"),
    ),
)
QWEN2_MOE = Family(
    name="qwen2_moe",
    model_types=("qwen2_moe",),
    defaults={
        **sizes(151936, 2048, 5632, 24, 16, num_key_value_heads=16, tie_word_embeddings=False),
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts": 60,
    },
    dims=_qwen2_moe_dims,
    rules=_RULES,
    renames=RENAMES,
)
QWEN3_MOE = Family(
    name="qwen3_moe",
    model_types=("qwen3_moe",),
    defaults={
        **sizes(151936, 2048, 6144, 24, 32, num_key_value_heads=4, tie_word_embeddings=False),
        "moe_intermediate_size": 768,
        "num_local_experts": 128,
    },
    dims=_qwen3_moe_dims,
    rules=_RULES,
    renames=RENAMES,
)

MIXTURES = (MIXTRAL, QWEN2_MOE, QWEN3_MOE)
