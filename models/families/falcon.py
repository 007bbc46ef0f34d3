"""Falcon (Almazrouei et al. 2023) and BLOOM (BigScience 2022): decoders whose query, key and value are one tensor.

Falcon's lie in three ways: one key and one value for all queries, behind them (7B); every key and value behind the
queries that share it (40B, 180B); query, key and value head by head (RW), as BLOOM's do.
"""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.decoder_blocks import qkv
from eigensweep.models.families.rules import Dims, Family, Rule, embedding, flags, heads, linear, norm, unembedding

_ATTENTION, _PATH = "h.{b}.self_attention", "blocks/{b}/attention"


def _dims(config: Mapping[str, Any], heads: int, groups: int, biased: bool, mlp: int) -> dict[str, Any]:
    """Sizes where the outputs of query_key_value fall into `groups`, each with queries, one key and one value."""
    d = config["hidden_size"]
    if d % heads or heads % groups:
        raise ValueError(f"{heads} heads do not divide hidden_size {d}, or do not fall into {groups} groups")
    kv = groups * (d // heads)
    return {
        **flags(config),
        "vocab": config["vocab_size"],
        "d": d,
        "q": d,
        "kv": kv,
        "qkv": d + 2 * kv,
        "groups": groups,
        "mlp": mlp,
        "biased": biased,
    }


def _falcon_dims(config: Mapping[str, Any]) -> Dims:
    count, grouped = config["num_attention_heads"], bool(config.get("new_decoder_architecture"))
    keys = config.get("num_kv_heads") or count
    groups = keys if grouped else 1 if config.get("multi_query", True) else count
    mlp = config.get("ffn_hidden_size") or 4 * config["hidden_size"]
    dims = _dims(config, count, groups, bool(config.get("bias")), mlp)
    parallel = bool(config.get("parallel_attn", True))
    two = parallel and (config.get("num_ln_in_parallel_attn") or (2 if grouped else 1)) == 2
    return {
        **dims,
        "blocks": config["num_hidden_layers"],
        "two_norms": two,
        "one_norm": not two,
        "sequential": not parallel,
    }


def _bloom_dims(config: Mapping[str, Any]) -> Dims:
    # Older configs say n_embed; transformers takes either name of the others too.
    d = config.get("n_embed") or config["hidden_size"]
    count = config.get("num_attention_heads") or config["n_head"]
    dims = _dims({**config, "hidden_size": d}, count, count, True, 4 * d)
    return {**dims, "blocks": config.get("num_hidden_layers") or config["n_layer"]}


_RULES = (
    *embedding("word_embeddings", "embedding", "embedding", "vocab", "d"),
    Rule(f"{_ATTENTION}.query_key_value.weight", ("qkv", "d"), qkv(), "linear", groups="groups"),
    Rule(f"{_ATTENTION}.query_key_value.bias", ("qkv",), qkv("bias"), "vector", groups="groups", when="biased"),
    *linear(f"{_ATTENTION}.dense", f"{_PATH}/output", "attention_output", "d", "d", "biased"),
    *linear("h.{b}.mlp.dense_h_to_4h", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "biased"),
    *linear("h.{b}.mlp.dense_4h_to_h", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "biased"),
    *norm("ln_f", "final_norm", "d", bias=True),
    *unembedding(),
    *heads("score", "classifier", "qa_outputs"),
)
_RENAMES = ((r"transformer\.(.*)", r"\1"),)

FALCON = Family(
    name="falcon",
    model_types=("falcon",),
    defaults={"vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71},
    dims=_falcon_dims,
    rules=(
        *_RULES,
        *norm("h.{b}.input_layernorm", "blocks/{b}/attention_norm", "d", bias=True, when="one_norm"),
        *norm("h.{b}.post_attention_layernorm", "blocks/{b}/mlp_norm", "d", bias=True, when="sequential"),
        *norm("h.{b}.ln_attn", "blocks/{b}/attention_norm", "d", bias=True, when="two_norms"),
        *norm("h.{b}.ln_mlp", "blocks/{b}/mlp_norm", "d", bias=True, when="two_norms"),
    ),
    renames=_RENAMES,
)
BLOOM = Family(
    name="bloom",
    model_types=("bloom",),
    defaults={"vocab_size": 250880, "hidden_size": 64, "n_layer": 2, "n_head": 8},
    dims=_bloom_dims,
    rules=(
        *_RULES,
        *norm("word_embeddings_layernorm", "embedding_norm", "d", bias=True),
        *norm("h.{b}.input_layernorm", "blocks/{b}/attention_norm", "d", bias=True),
        *norm("h.{b}.post_attention_layernorm", "blocks/{b}/mlp_norm", "d", bias=True),
    ),
    renames=_RENAMES,
)

FALCONS = (FALCON, BLOOM)
