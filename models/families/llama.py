"""Llama (Touvron et al. 2023) and the models of its shape: Mistral, Qwen2, Qwen3."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.rules import (
    Dims,
    Family,
    Rule,
    embedding,
    flags,
    heads,
    linear,
    norm,
    unembedding,
)

RENAMES = ((r"(?:model|transformer)\.(.*)", r"\1"),)


def decoder_dims(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of a decoder with grouped queries and a gated MLP."""
    d, num_heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or d // num_heads
    groups = config.get("num_key_value_heads") or num_heads
    return {
        **flags(config),
        "blocks": config["num_hidden_layers"],
        "vocab": config["vocab_size"],
        "d": d,
        "head": head,
        "heads": num_heads,
        "q": num_heads * head,
        "kv": groups * head,
        "mlp": config["intermediate_size"],
        "attention_bias": bool(config.get("attention_bias", False)),
        "output_bias": bool(config.get("attention_bias", False)),
        "mlp_bias": bool(config.get("mlp_bias", False)),
        "qk_norm": False,
    }


def attention_rules() -> tuple[Rule, ...]:
    """Attention with separate projections; biases and norms of query and key where the flags say so."""
    source, path = "layers.{b}.self_attn", "blocks/{b}/attention"
    return (
        *linear(f"{source}.q_proj", f"{path}/query", "query", "q", "d", "attention_bias"),
        *linear(f"{source}.k_proj", f"{path}/key", "key", "kv", "d", "attention_bias"),
        *linear(f"{source}.v_proj", f"{path}/value", "value", "kv", "d", "attention_bias"),
        *linear(f"{source}.o_proj", f"{path}/output", "attention_output", "d", "q", "output_bias"),
        *norm(f"{source}.q_norm", f"{path}/query_norm", "head", when="qk_norm"),
        *norm(f"{source}.k_norm", f"{path}/key_norm", "head", when="qk_norm"),
    )


def mlp_rules(
    source: str = "layers.{b}.mlp",
    path: str = "blocks/{b}/mlp",
    size: str = "mlp",
    bias: str | None = "mlp_bias",
    when: str = "always",
) -> tuple[Rule, ...]:
    """A gated MLP: down(act(gate x) * up x)."""
    return (
        *linear(f"{source}.gate_proj", f"{path}/gate", "mlp_gate", size, "d", bias, when=when),
        *linear(f"{source}.up_proj", f"{path}/up", "mlp_up", size, "d", bias, when=when),
        *linear(f"{source}.down_proj", f"{path}/down", "mlp_down", "d", size, bias, when=when),
    )


BEFORE = embedding("embed_tokens", "embedding", "embedding", "vocab", "d")
BLOCK_NORMS = (
    *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d"),
    *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/mlp_norm", "d"),
)
AFTER = (*norm("norm", "final_norm", "d"), *unembedding(), *heads("score", "classifier", "qa_outputs"))
RULES = (*BEFORE, *attention_rules(), *mlp_rules(), *BLOCK_NORMS, *AFTER)


def _biased_qkv(config: Mapping[str, Any]) -> Dims:
    return {**decoder_dims(config), "attention_bias": True, "output_bias": False}


def normed_qk(config: Mapping[str, Any]) -> Dims:
    """`decoder_dims` with norms of query and key."""
    return {**decoder_dims(config), "qk_norm": True}


LLAMA = Family(
    name="llama",
    model_types=("llama",),
    defaults={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
    dims=decoder_dims,
    rules=RULES,
    renames=RENAMES,
)
MISTRAL = Family(
    name="mistral",
    model_types=("mistral",),
    defaults={**LLAMA.defaults, "intermediate_size": 14336, "num_key_value_heads": 8},
    dims=decoder_dims,
    rules=RULES,
    renames=RENAMES,
)
QWEN2 = Family(
    name="qwen2",
    model_types=("qwen2",),
    defaults={**LLAMA.defaults, "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32},
    dims=_biased_qkv,
    rules=RULES,
    renames=RENAMES,
)
QWEN3 = Family(
    name="qwen3",
    model_types=("qwen3",),
    defaults={**QWEN2.defaults, "head_dim": 128},
    dims=normed_qk,
    rules=RULES,
    renames=RENAMES,
)
