"""DeepSeek V2 and V3 (DeepSeek-AI 2024), Kimi K2: latent attention and many small experts; GLM-4.5, which has the
experts without the latent attention.

Latent attention (https://arxiv.org/abs/2405.04434, section 2.1): the token is projected down to a latent of few
dimensions, from which every head's queries (q_b), keys and values (kv_b) are made; beside the latent of keys and values
stands one rotary key that all heads share. V2-Lite makes its queries without a latent.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.families.decoder_blocks import (
    AFTER,
    ATTENTION,
    BEFORE,
    BLOCK_NORMS,
    MLP,
    PREFIXES,
    attention_rules,
    mlp_rules,
    qk_norms,
)
from eigensweep.models.families.mixtures import expert_rules, moe_dims, router, shared_expert
from eigensweep.models.families.rules import (
    Dims,
    Family,
    Part,
    Rule,
    embedding,
    linear,
    norm,
    sizes,
    unembedding,
    vector,
)

_PATH = "blocks/{b}/attention"


def _experts(config: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Sizes of the MLPs, and how many blocks that predict further tokens may follow the model's."""
    first, moe = config.get("first_k_dense_replace") or 0, config["moe_intermediate_size"]
    further = config.get("num_nextn_predict_layers", config.get("num_mtp_layers", 1))
    blocks = config["num_hidden_layers"]
    sparse = frozenset(range(min(first, blocks), blocks + further))
    dims = moe_dims(config, moe, sparse, moe * (config.get("n_shared_experts") or 0), **options)
    return {**dims, "2d": 2 * dims["d"], "extra_blocks": further, "further": frozenset(range(blocks, blocks + further))}


def _latent_dims(config: Mapping[str, Any], reads: tuple[str, ...] = ("attention_bias",)) -> dict[str, Any]:
    dims = _experts(config, reads=reads)
    heads, rank, kv_rank = dims["heads"], config.get("q_lora_rank"), config["kv_lora_rank"]
    rotary, plain, value = (config[key] for key in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"))
    blocks, latent = frozenset(range(dims["blocks"] + dims["extra_blocks"])), rank is not None
    return {
        **dims,
        "rank": rank or 0,
        "kv_rank": kv_rank,
        "rotary": rotary,
        "kv_a": kv_rank + rotary,
        "q": heads * (plain + rotary),
        "k": heads * plain,
        "v": heads * value,
        "kv_b": heads * (plain + value),
        "latent": blocks if latent else frozenset(),
        "direct": frozenset() if latent else blocks,
        "latent_bias": latent and dims["attention_bias"],
    }


_LATENT_ATTENTION = (
    *linear(f"{ATTENTION}.q_proj", f"{_PATH}/query", "query", "q", "d", when="direct"),
    *linear(f"{ATTENTION}.q_a_proj", f"{_PATH}/query_latent", "query_latent", "rank", "d", "latent_bias", "latent"),
    *norm(f"{ATTENTION}.q_a_layernorm", f"{_PATH}/query_latent_norm", "rank", when="latent"),
    *linear(f"{ATTENTION}.q_b_proj", f"{_PATH}/query", "query", "q", "rank", when="latent"),
    *(
        Rule(
            f"{ATTENTION}.kv_a_proj_with_mqa.{kind}",
            shape,
            (
                Part(f"{_PATH}/key_value_latent/{leaf}", "key_value_latent" if kernel else "", "latent", "kv_rank"),
                Part(f"{_PATH}/rotary_key/{leaf}", "rotary_key" if kernel else "", "rotary_key", "rotary"),
            ),
            "linear" if kernel else "vector",
            when="always" if kernel else "attention_bias",
        )
        for kind, leaf, shape, kernel in (("weight", "kernel", ("kv_a", "d"), True), ("bias", "bias", ("kv_a",), False))
    ),
    *norm(f"{ATTENTION}.kv_a_layernorm", f"{_PATH}/key_value_latent_norm", "kv_rank"),
    Rule(
        f"{ATTENTION}.kv_b_proj.weight",
        ("kv_b", "kv_rank"),
        (Part(f"{_PATH}/key/kernel", "key", "key", "k"), Part(f"{_PATH}/value/kernel", "value", "value", "v")),
        "linear",
        groups="heads",
    ),
    *linear(f"{ATTENTION}.o_proj", f"{_PATH}/output", "attention_output", "d", "v", "attention_bias"),
)
_MLPS = (
    *mlp_rules(when="dense"),
    *router(f"{MLP}.gate"),
    vector(f"{MLP}.gate.e_score_correction_bias", "blocks/{b}/moe/router/correction", "experts", "correction"),
    *expert_rules(),
    *shared_expert(f"{MLP}.shared_experts"),
)
_FURTHER = "blocks/{b}/further"
_FURTHER_TOKENS = (
    *(
        replace(rule, tied_to="embedding/embedding")
        for rule in embedding("layers.{b}.embed_tokens", f"{_FURTHER}/embedding", "embedding", "vocab", "d", "further")
    ),
    *norm("layers.{b}.enorm", f"{_FURTHER}/embedding_norm", "d", when="further"),
    *norm("layers.{b}.hnorm", f"{_FURTHER}/norm", "d", when="further"),
    *linear("layers.{b}.eh_proj", f"{_FURTHER}/projection", "other", "d", "2d", when="further"),
    *norm("layers.{b}.shared_head.norm", f"{_FURTHER}/final_norm", "d", when="further"),
    *(
        replace(rule, parts=(Part(f"{_FURTHER}/unembedding/kernel", "unembedding"),), tied_to="unembedding/kernel")
        for rule in unembedding("layers.{b}.shared_head.head", "further")
    ),
)


def _v2_dims(config: Mapping[str, Any]) -> Dims:
    # V2 knows neither further tokens nor a correction, and its MLPs may have biases.
    dims = _latent_dims({"num_nextn_predict_layers": 0, **config}, ("attention_bias", "mlp_bias"))
    return {**dims, "correction": frozenset()}


def _v3_dims(config: Mapping[str, Any]) -> Dims:
    dims = _latent_dims(config)
    return {**dims, "correction": dims["moe"]}


def _glm4_moe_dims(config: Mapping[str, Any]) -> Dims:
    biased = bool(config.get("attention_bias"))
    dims = _experts(config, qkv_bias=biased, qk_norm=bool(config.get("use_qk_norm")))
    return {**dims, "correction": dims["moe"]}


_RANKS = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}

DEEPSEEK_V2 = Family(
    name="deepseek_v2",
    model_types=("deepseek_v2",),
    defaults={
        **sizes(102400, 4096, 11008, 32, 32, tie_word_embeddings=False),
        **_RANKS,
        "moe_intermediate_size": 1407,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
    },
    dims=_v2_dims,
    rules=(*BEFORE, *_LATENT_ATTENTION, *_MLPS, *BLOCK_NORMS, *AFTER),
    renames=PREFIXES,
)
DEEPSEEK_V3 = Family(
    name="deepseek_v3",
    model_types=("deepseek_v3", "kimi_k2"),
    defaults={
        **sizes(129280, 7168, 18432, 61, 128, tie_word_embeddings=False),
        **_RANKS,
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "first_k_dense_replace": 3,
    },
    dims=_v3_dims,
    rules=(*BEFORE, *_LATENT_ATTENTION, *_MLPS, *BLOCK_NORMS, *_FURTHER_TOKENS, *AFTER),
    renames=PREFIXES,
)
GLM4_MOE = Family(
    name="glm4_moe",
    model_types=("glm4_moe",),
    defaults={
        **sizes(151552, 4096, 10944, 46, 96, num_key_value_heads=8, tie_word_embeddings=False),
        "moe_intermediate_size": 1408,
        "n_routed_experts": 128,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
    },
    dims=_glm4_moe_dims,
    rules=(*BEFORE, *attention_rules(), *qk_norms(), *_MLPS, *BLOCK_NORMS, *_FURTHER_TOKENS, *AFTER),
    renames=PREFIXES,
)

DEEPSEEKS = (DEEPSEEK_V2, DEEPSEEK_V3, GLM4_MOE)
