"""Llama 4 (Meta 2025), the text model: stacked experts (experts, in, out), gate and up end to end, and a shared one."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.decoder_blocks import (
    AFTER,
    BEFORE,
    BLOCK_NORMS,
    PREFIXES,
    attention_rules,
    blocks_of,
    mlp_rules,
)
from eigensweep.models.families.mixtures import moe_dims, router, shared_expert, turned_expert_rules
from eigensweep.models.families.rules import Dims, Family, sizes

_MLP = "layers.{b}.feed_forward"


def _dims(config: Mapping[str, Any]) -> Dims:
    moe, step = config.get("moe_layers"), config.get("interleave_moe_layer_step", 1)
    blocks = blocks_of(config)
    sparse = frozenset(blocks[step - 1 :: step]) if moe is None else frozenset(moe)
    size = config["intermediate_size"]
    dims = moe_dims(config, size, sparse, size, reads=("attention_bias",))
    return {**dims, "mlp": config["intermediate_size_mlp"]}


LLAMA4 = Family(
    name="llama4",
    model_types=("llama4_text",),
    defaults={
        **sizes(202048, 5120, 8192, 48, 40, num_key_value_heads=8, head_dim=128, num_local_experts=16),
        "intermediate_size_mlp": 16384,
        "tie_word_embeddings": False,
    },
    dims=_dims,
    rules=(
        *BEFORE,
        *attention_rules(),
        *mlp_rules(_MLP, when="dense"),
        *router(f"{_MLP}.router"),
        *turned_expert_rules(_MLP),
        *shared_expert(f"{_MLP}.shared_expert"),
        *BLOCK_NORMS,
        *AFTER,
    ),
    renames=PREFIXES,
)
