"""Granite's mixtures of experts (IBM 2024), and Granite 4, whose blocks are mostly state spaces.

The experts are stacked in the hub's files too; beside them stands an MLP for every token, in the small Granite 4 alone.
"""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.decoder_blocks import (
    AFTER,
    BEFORE,
    BLOCK_NORMS,
    PREFIXES,
    attention_rules,
    blocks_of,
    gate_up,
)
from eigensweep.models.families.mamba import PATH, mamba2_rules, mamba2_sizes
from eigensweep.models.families.mixtures import expert_rules, moe_dims, router
from eigensweep.models.families.rules import Dims, Family, Rule, linear, sizes


def _dims(config: Mapping[str, Any]) -> Dims:
    blocks = frozenset(blocks_of(config))
    moe = blocks if config.get("num_local_experts", 8) else frozenset()
    shared = config.get("shared_intermediate_size") or 0
    dims = moe_dims({"num_local_experts": 8, **config}, config["intermediate_size"], moe, reads=("attention_bias",))
    return {
        **dims,
        "shared_mlp": shared,
        "2shared_mlp": 2 * shared,
        "shared": moe if shared else frozenset(),
        "alone": blocks - moe if shared else frozenset(),
        "full": blocks,
        "full_bias": blocks if dims["attention_bias"] else frozenset(),
    }


def _hybrid_dims(config: Mapping[str, Any]) -> Dims:
    dims, kinds = _dims({"shared_intermediate_size": 1024, **config}), config.get("layer_types")
    blocks = frozenset(blocks_of(config))
    full = frozenset(b for b, kind in enumerate(kinds or ()) if kind in ("attention", "full_attention"))
    state, heads = config["mamba_n_groups"] * config["mamba_d_state"], config["mamba_n_heads"]
    return {
        **dims,
        **mamba2_sizes(config["mamba_expand"] * dims["d"], state, heads, config["mamba_d_conv"]),
        "full": full,
        "full_bias": full if dims["attention_bias"] else frozenset(),
        "mamba": blocks - full,
        "mamba_bias": blocks - full if config.get("mamba_proj_bias") else frozenset(),
        "mamba_conv_bias": blocks - full if config.get("mamba_conv_bias", True) else frozenset(),
    }


_MOE, _SHARED = "layers.{b}.block_sparse_moe", "layers.{b}.shared_mlp"


def _mlp(path: str, role: str, when: str) -> tuple[Rule, ...]:
    """The MLP of every token, gate and up end to end."""
    parts = gate_up(path, "shared_mlp", role=role)
    return (
        Rule(f"{_SHARED}.input_linear.weight", ("2shared_mlp", "d"), parts, "linear", when=when),
        *linear(f"{_SHARED}.output_linear", f"{path}/down", f"{role}_down", "d", "shared_mlp", when=when),
    )


_RULES = (
    *BEFORE,
    *attention_rules("full", "full_bias", "full_bias"),
    *router(f"{_MOE}.router"),
    *(rule for rule in expert_rules(_MOE) if rule.stacked),
    *_mlp("blocks/{b}/moe/shared", "shared_mlp", "shared"),
    *_mlp("blocks/{b}/mlp", "mlp", "alone"),
    *BLOCK_NORMS,
    *AFTER,
)
_RENAMES = (
    *PREFIXES,
    (r"(.*\.block_sparse_moe)\.input_linear\.weight", r"\1.experts.gate_up_proj"),
    (r"(.*\.block_sparse_moe)\.output_linear\.weight", r"\1.experts.down_proj"),
    (r"(.*\.block_sparse_moe\.router)\.layer\.weight", r"\1.weight"),
)
_SIZES = sizes(32000, 4096, 11008, 32, 32, tie_word_embeddings=False)

GRANITE_MOE = Family(
    name="granitemoe",
    model_types=("granitemoe", "granitemoeshared"),
    defaults=_SIZES,
    dims=_dims,
    rules=_RULES,
    renames=_RENAMES,
)
GRANITE_HYBRID = Family(
    name="granitemoehybrid",
    model_types=("granitemoehybrid",),
    defaults={
        **_SIZES,
        "mamba_n_heads": 128,
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
    },
    dims=_hybrid_dims,
    rules=(*_RULES, *mamba2_rules("layers.{b}.mamba", PATH, "mamba")),
    renames=_RENAMES,
)

GRANITES = (GRANITE_MOE, GRANITE_HYBRID)
