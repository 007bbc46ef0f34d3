"""Decoders with layer norms and plain MLPs: GPT-2, GPT-NeoX and Pythia, OPT."""

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
    sizes,
    unembedding,
    vector,
)

_SHARES = ("query", "key", "value")


def _gpt2_dims(config: Mapping[str, Any]) -> Dims:
    d = config["n_embd"]
    return {
        **flags(config),
        "blocks": config["n_layer"],
        "vocab": config["vocab_size"],
        "positions": config["n_positions"],
        "d": d,
        "3d": 3 * d,
        "mlp": config.get("n_inner") or 4 * d,
    }


def _conv1d(source: str, path: str, role: str, out: str, inp: str) -> tuple[Rule, ...]:
    weight = Rule(f"{source}.weight", (inp, out), (Part(f"{path}/kernel", role),), "conv1d")
    return (weight, vector(f"{source}.bias", f"{path}/bias", out))


def _fused(leaf: str, roles: bool, size: str) -> tuple[Part, ...]:
    """Query, key and value in one tensor."""
    return tuple(
        Part(f"blocks/{{b}}/attention/{share}/{leaf}", share if roles else "", share, size) for share in _SHARES
    )


# Radford et al. 2019. The Conv1D layers store (in, out); query, key and value lie side by side.
GPT2 = Family(
    name="gpt2",
    model_types=("gpt2",),
    defaults={"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
    dims=_gpt2_dims,
    rules=(
        *embedding("wte", "embedding", "embedding", "vocab", "d"),
        *embedding("wpe", "position_embedding", "position_embedding", "positions", "d"),
        *norm("h.{b}.ln_1", "blocks/{b}/attention_norm", "d", bias=True),
        Rule("h.{b}.attn.c_attn.weight", ("d", "3d"), _fused("kernel", True, "d"), "conv1d"),
        Rule("h.{b}.attn.c_attn.bias", ("3d",), _fused("bias", False, "d"), "vector"),
        *_conv1d("h.{b}.attn.c_proj", "blocks/{b}/attention/output", "attention_output", "d", "d"),
        *norm("h.{b}.ln_2", "blocks/{b}/mlp_norm", "d", bias=True),
        *_conv1d("h.{b}.mlp.c_fc", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d"),
        *_conv1d("h.{b}.mlp.c_proj", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp"),
        *norm("ln_f", "final_norm", "d", bias=True),
        *unembedding(),
        *heads("score", "classifier", "qa_outputs", "multiple_choice_head.summary"),
    ),
    renames=((r"transformer\.(.*)", r"\1"),),
)


def _gpt_neox_dims(config: Mapping[str, Any]) -> Dims:
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


_NEOX, _OUTPUT = "layers.{b}.attention", "blocks/{b}/attention/output"
_QKV = f"{_NEOX}.query_key_value"

# Black et al. 2022. Query, key and value are fused, alternating head by head.
GPT_NEOX = Family(
    name="gpt_neox",
    model_types=("gpt_neox",),
    defaults=sizes(50432, 6144, 24576, 44, 64, tie_word_embeddings=False),
    dims=_gpt_neox_dims,
    rules=(
        *embedding("embed_in", "embedding", "embedding", "vocab", "d"),
        Rule(f"{_QKV}.weight", ("3d", "d"), _fused("kernel", True, "d"), "linear", groups="heads"),
        Rule(f"{_QKV}.bias", ("3d",), _fused("bias", False, "d"), "vector", groups="heads", when="attention_bias"),
        *linear(f"{_NEOX}.dense", _OUTPUT, "attention_output", "d", "d", "attention_bias"),
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


def _opt_dims(config: Mapping[str, Any]) -> Dims:
    d = config["hidden_size"]
    narrow = config.get("word_embed_proj_dim") or d
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
        "biased": bool(config.get("enable_bias", True)),
        "affine": affine,
        "final": bool(final and affine),
    }


_OPT = "layers.{b}.self_attn"

# Zhang et al. 2022. The 350M model projects into and out of a narrower embedding and has no final norm.
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
    dims=_opt_dims,
    rules=(
        *embedding("embed_tokens", "embedding", "embedding", "vocab", "narrow"),
        *embedding("embed_positions", "position_embedding", "position_embedding", "positions", "d"),
        *linear("project_in", "embedding_projection", "other", "d", "narrow", when="projected"),
        *linear(f"{_OPT}.q_proj", "blocks/{b}/attention/query", "query", "d", "d", "biased"),
        *linear(f"{_OPT}.k_proj", "blocks/{b}/attention/key", "key", "d", "d", "biased"),
        *linear(f"{_OPT}.v_proj", "blocks/{b}/attention/value", "value", "d", "d", "biased"),
        *linear(f"{_OPT}.out_proj", _OUTPUT, "attention_output", "d", "d", "biased"),
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

GPTS = (GPT2, GPT_NEOX, OPT)
