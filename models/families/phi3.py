"""Phi-3 (Abdin et al. 2024): Llama's shape with query, key, value and gate, up fused end to end."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.llama import AFTER, BEFORE, BLOCK_NORMS, RENAMES, decoder_dims
from eigensweep.models.families.rules import Dims, Family, Part, Rule, linear


def _dims(config: Mapping[str, Any]) -> Dims:
    dims = decoder_dims(config)
    return {**dims, "qkv": dims["q"] + 2 * dims["kv"], "2mlp": 2 * dims["mlp"]}


_ATTENTION, _MLP = "layers.{b}.self_attn", "layers.{b}.mlp"
_QKV = tuple(
    Part(f"blocks/{{b}}/attention/{share}/kernel", share, share, size)
    for share, size in (("query", "q"), ("key", "kv"), ("value", "kv"))
)
_GATE_UP = tuple(
    Part(f"blocks/{{b}}/mlp/{share}/kernel", f"mlp_{share}", share, "mlp") for share in ("gate", "up")
)

PHI3 = Family(
    name="phi3",
    model_types=("phi3",),
    defaults={
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
    dims=_dims,
    rules=(
        *BEFORE,
        Rule(f"{_ATTENTION}.qkv_proj.weight", ("qkv", "d"), _QKV, "linear"),
        *linear(f"{_ATTENTION}.o_proj", "blocks/{b}/attention/output", "attention_output", "d", "q"),
        Rule(f"{_MLP}.gate_up_proj.weight", ("2mlp", "d"), _GATE_UP, "linear"),
        *linear(f"{_MLP}.down_proj", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp"),
        *BLOCK_NORMS,
        *AFTER,
    ),
    renames=RENAMES,
)
