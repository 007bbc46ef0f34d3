"""Decoders with RMS norms and gated MLPs, whose queries may share keys and values, dense throughout.

Llama (Touvron et al. 2023), Mistral, Qwen2, Qwen3, Granite, SmolLM3; OLMo (Groeneveld et al. 2024), whose norms have
no scales; OLMo 2 and 3 (OLMo Team 2024), normed after attention and MLP; Cohere's Command R and Command A, one norm
for both; GLM-4 and Phi-3, which fuse gate and up, Phi-3 (Abdin et al. 2024) query, key and value as well.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from eigensweep.models.families.decoder_blocks import (
    AFTER,
    ATTENTION,
    BEFORE,
    BLOCK_NORMS,
    PREFIXES,
    RULES,
    attention_rules,
    decoder_dims,
    fused_mlp_rules,
    mlp_rules,
    qk_norms,
    qkv,
)
from eigensweep.models.families.rules import Dims, Family, Rule, heads, linear, norm, sizes, unembedding

_BIASES = ("attention_bias", "mlp_bias")
_decoder = partial(Family, rules=RULES, renames=PREFIXES)

LLAMA = _decoder(
    name="llama",
    model_types=("llama",),
    defaults=sizes(32000, 4096, 11008, 32, 32, tie_word_embeddings=False),
    dims=partial(decoder_dims, reads=_BIASES),
)
MISTRAL = _decoder(
    name="mistral",
    model_types=("mistral", "ministral", "ministral3"),
    defaults=sizes(32000, 4096, 14336, 32, 32, num_key_value_heads=8, tie_word_embeddings=False),
    dims=decoder_dims,
)
QWEN2 = _decoder(
    name="qwen2",
    model_types=("qwen2", "qwen2_vl_text", "qwen2_5_vl_text"),
    defaults=sizes(151936, 4096, 22016, 32, 32, num_key_value_heads=32, tie_word_embeddings=False),
    dims=partial(decoder_dims, qkv_bias=True),
)
QWEN3 = _decoder(
    name="qwen3",
    model_types=("qwen3", "qwen3_vl_text"),
    defaults={**QWEN2.defaults, "head_dim": 128},
    dims=partial(decoder_dims, reads=("attention_bias",), qk_norm=True),
)
GRANITE = _decoder(
    name="granite", model_types=("granite",), defaults=LLAMA.defaults, dims=partial(decoder_dims, reads=_BIASES)
)
SMOLLM3 = _decoder(
    name="smollm3",
    model_types=("smollm3",),
    defaults=sizes(128256, 2048, 11008, 36, 16, num_key_value_heads=4),
    dims=partial(decoder_dims, reads=_BIASES),
)

OLMO = _decoder(
    name="olmo",
    model_types=("olmo",),
    defaults=sizes(50304, 4096, 11008, 32, 32, tie_word_embeddings=False),
    dims=partial(decoder_dims, reads=("attention_bias",)),
    rules=(*BEFORE, *attention_rules(), *mlp_rules(), *unembedding(), *heads("score")),
)
OLMO2 = _decoder(
    name="olmo2",
    model_types=("olmo2", "olmo3"),
    defaults=OLMO.defaults,
    dims=partial(decoder_dims, reads=("attention_bias",), qk_norm=True),
    rules=(
        *BEFORE,
        *attention_rules(),
        *qk_norms("q", "kv"),
        *mlp_rules(),
        *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/attention_post_norm", "d"),
        *norm("layers.{b}.post_feedforward_layernorm", "blocks/{b}/mlp_post_norm", "d"),
        *AFTER,
    ),
)


def _cohere_dims(config: Mapping[str, Any]) -> Dims:
    # Here alone the norms of query and key have a row a head.
    dims = decoder_dims(config, reads=("attention_bias",), qk_norm=bool(config.get("use_qk_norm")))
    return {**dims, "kv_heads": dims["kv"] // dims["head"]}


COHERE = _decoder(
    name="cohere",
    model_types=("cohere2", "cohere"),
    defaults=sizes(256000, 8192, 22528, 40, 64),
    dims=_cohere_dims,
    rules=(
        *BEFORE,
        *attention_rules(),
        *(
            Rule(rule.pattern, (count, "head"), rule.parts, "vector", when="qk_norm", reason="a norm's scales, by head")
            for rule, count in zip(qk_norms(), ("heads", "kv_heads"), strict=True)
        ),
        *mlp_rules(),
        *norm("layers.{b}.input_layernorm", "blocks/{b}/norm", "d"),
        *AFTER,
    ),
)


def _fused_dims(config: Mapping[str, Any], **options: Any) -> Dims:
    dims = decoder_dims(config, **options)
    return {**dims, "qkv": dims["q"] + 2 * dims["kv"], "2mlp": 2 * dims["mlp"]}


def _glm_dims(config: Mapping[str, Any]) -> Dims:
    bias = config.get("attention_bias", True)
    return {**_fused_dims(config, qkv_bias=bool(bias)), "sandwich": config.get("model_type") != "glm"}


GLM4 = _decoder(
    name="glm4",
    model_types=("glm4", "glm"),
    defaults=sizes(151552, 4096, 13696, 40, 32, num_key_value_heads=2, head_dim=128, tie_word_embeddings=False),
    dims=_glm_dims,
    rules=(
        *BEFORE,
        *attention_rules(),
        *fused_mlp_rules(),
        *BLOCK_NORMS,
        *norm("layers.{b}.post_self_attn_layernorm", "blocks/{b}/attention_post_norm", "d", when="sandwich"),
        *norm("layers.{b}.post_mlp_layernorm", "blocks/{b}/mlp_post_norm", "d", when="sandwich"),
        *AFTER,
    ),
)
PHI3 = _decoder(
    name="phi3",
    model_types=("phi3",),
    defaults=sizes(32064, 3072, 8192, 32, 32, tie_word_embeddings=False),
    dims=_fused_dims,
    rules=(
        *BEFORE,
        Rule(f"{ATTENTION}.qkv_proj.weight", ("qkv", "d"), qkv(), "linear"),
        *linear(f"{ATTENTION}.o_proj", "blocks/{b}/attention/output", "attention_output", "d", "q"),
        *fused_mlp_rules(),
        *BLOCK_NORMS,
        *AFTER,
    ),
)

DECODERS = (LLAMA, MISTRAL, QWEN2, QWEN3, GRANITE, SMOLLM3, OLMO, OLMO2, COHERE, GLM4, PHI3)
