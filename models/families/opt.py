"""OPT (Zhang et al. 2022). The 350M model projects into and out of a narrower embedding and has no final norm."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.rules import Dims, Family, embedding, flags, heads, linear, norm, unembedding


def _dims(config: Mapping[str, Any]) -> Dims:
    d = config["hidden_size"]
    narrow = config.get("word_embed_proj_dim") or d
    biased = bool(config.get("enable_bias", True))
    affine = bool(config.get("layer_norm_elementwise_affine", True))
    final = config.get("do_layer_norm_before", True) and not config.get("_remove_final_layer_norm", False)
    return {
        **flags(config),
        "blocks": config["num_hidden_layers"],
        "vocab": config["vocab_size"],
        "positions": config["max_position_embeddings"] + 2,  # the first two rows are padding
        "d": d,
        "narrow": narrow,
        "mlp": config["ffn_dim"],
        "projected": narrow != d,
        "biased": biased,
        "affine": affine,
        "final": bool(final and affine),
    }


_ATTENTION = "layers.{b}.self_attn"

OPT = Family(
    name="opt",
    model_types=("opt",),
    defaults={
        "vocab_size": 50272,
        "hidden_size": 768,
        "ffn_dim": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 2048,
    },
    dims=_dims,
    rules=(
        *embedding("embed_tokens", "embedding", "embedding", "vocab", "narrow"),
        *embedding("embed_positions", "position_embedding", "position_embedding", "positions", "d"),
        *linear("project_in", "embedding_projection", "other", "d", "narrow", when="projected"),
        *linear(f"{_ATTENTION}.q_proj", "blocks/{b}/attention/query", "query", "d", "d", "biased"),
        *linear(f"{_ATTENTION}.k_proj", "blocks/{b}/attention/key", "key", "d", "d", "biased"),
        *linear(f"{_ATTENTION}.v_proj", "blocks/{b}/attention/value", "value", "d", "d", "biased"),
        *linear(
            f"{_ATTENTION}.out_proj", "blocks/{b}/attention/output", "attention_output", "d", "d", "biased"
        ),
        *norm("layers.{b}.self_attn_layer_norm", "blocks/{b}/attention_norm", "d", bias=True, when="affine"),
        *linear("layers.{b}.fc1", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "biased"),
        *linear("layers.{b}.fc2", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "biased"),
        *norm("layers.{b}.final_layer_norm", "blocks/{b}/mlp_norm", "d", bias=True, when="affine"),
        *norm("final_layer_norm", "final_norm", "d", bias=True, when="final"),
        *linear("project_out", "unembedding_projection", "other", "narrow", "d", when="projected"),
        *unembedding(dim="narrow"),
        *heads("score", "qa_outputs", dim="narrow"),
    ),
    renames=((r"model\.(.*)", r"\1"), (r"decoder\.(.*)", r"\1")),
)
