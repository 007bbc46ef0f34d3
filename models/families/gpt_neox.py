"""GPT-NeoX (Black et al. 2022) and Pythia: query, key and value fused, alternating head by head."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.rules import (
    Dims,
    Family,
    Part,
    Rule,
    embedding,
    flags,
    heads,
    linear,
    norm,
    unembedding,
)


def _dims(config: Mapping[str, Any]) -> Dims:
    d = config["hidden_size"]
    if d % config["num_attention_heads"]:
        raise ValueError(f"{config['num_attention_heads']} heads do not divide hidden_size {d}")
    return {
        **flags(config),
        "blocks": config["num_hidden_layers"],
        "vocab": config["vocab_size"],
        "d": d,
        "3d": 3 * d,
        "heads": config["num_attention_heads"],
        "mlp": config["intermediate_size"],
        "attention_bias": bool(config.get("attention_bias", True)),
    }


_ATTENTION = "layers.{b}.attention"
_SHARES = ("query", "key", "value")
_KERNELS = tuple(Part(f"blocks/{{b}}/attention/{share}/kernel", share, share) for share in _SHARES)
_BIASES = tuple(Part(f"blocks/{{b}}/attention/{share}/bias") for share in _SHARES)

GPT_NEOX = Family(
    name="gpt_neox",
    model_types=("gpt_neox",),
    defaults={
        "vocab_size": 50432,
        "hidden_size": 6144,
        "intermediate_size": 24576,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "tie_word_embeddings": False,
    },
    dims=_dims,
    rules=(
        *embedding("embed_in", "embedding", "embedding", "vocab", "d"),
        Rule(f"{_ATTENTION}.query_key_value.weight", ("3d", "d"), _KERNELS, "linear", by_head=True),
        Rule(
            f"{_ATTENTION}.query_key_value.bias",
            ("3d",),
            _BIASES,
            "vector",
            by_head=True,
            when="attention_bias",
        ),
        *linear(
            f"{_ATTENTION}.dense",
            "blocks/{b}/attention/output",
            "attention_output",
            "d",
            "d",
            "attention_bias",
        ),
        *linear("layers.{b}.mlp.dense_h_to_4h", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "always"),
        *linear("layers.{b}.mlp.dense_4h_to_h", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "always"),
        *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d", bias=True),
        *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/mlp_norm", "d", bias=True),
        *norm("final_layer_norm", "final_norm", "d", bias=True),
        *unembedding(),
        *heads("score", "classifier", "qa_outputs"),
    ),
    renames=((r"gpt_neox\.(.*)", r"\1"), (r"embed_out\.(.*)", r"lm_head.\1")),
)
