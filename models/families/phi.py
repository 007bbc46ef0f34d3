"""Phi 1 and 2 (Microsoft 2023) and StableLM (Stability AI 2023): Llama-like attention with layer norms."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from eigensweep.models.families.decoder_blocks import (
    ATTENTION,
    BEFORE,
    PREFIXES,
    attention_rules,
    decoder_dims,
    mlp_rules,
)
from eigensweep.models.families.rules import Dims, Family, heads, linear, norm, sizes, unembedding, vector

_PATH = "blocks/{b}/attention"
_layer_norm = partial(norm, bias=True)


def _phi_dims(config: Mapping[str, Any]) -> Dims:
    return decoder_dims(config, qkv_bias=True, qk_norm=bool(config.get("qk_layernorm")))


def _stablelm_dims(config: Mapping[str, Any]) -> Dims:
    dims = decoder_dims(config, qkv_bias=bool(config.get("use_qkv_bias")))
    return {
        **dims,
        "experts": dims["heads"],  # the number in the names of its norms, one a head, of which keys may have fewer
        "head_norm": None if config.get("qk_layernorm") else False,
        "sequential": not config.get("use_parallel_residual"),
    }


PHI = Family(
    name="phi",
    model_types=("phi",),
    defaults=sizes(51200, 2048, 8192, 24, 32, tie_word_embeddings=False),
    dims=_phi_dims,
    rules=(
        *BEFORE,
        *(rule for rule in attention_rules() if "o_proj" not in rule.pattern),
        *linear(f"{ATTENTION}.dense", f"{_PATH}/output", "attention_output", "d", "q", "always"),
        *_layer_norm(f"{ATTENTION}.q_layernorm", f"{_PATH}/query_norm", "head", when="qk_norm"),
        *_layer_norm(f"{ATTENTION}.k_layernorm", f"{_PATH}/key_norm", "head", when="qk_norm"),
        *linear("layers.{b}.mlp.fc1", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "always"),
        *linear("layers.{b}.mlp.fc2", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "always"),
        *_layer_norm("layers.{b}.input_layernorm", "blocks/{b}/norm", "d"),
        *_layer_norm("final_layernorm", "final_norm", "d"),
        *unembedding(),
        vector("lm_head.bias", "unembedding/bias", "vocab", "language_model"),
        *heads("score", "classifier"),
    ),
    renames=PREFIXES,
)
STABLELM = Family(
    name="stablelm",
    model_types=("stablelm",),
    defaults=sizes(50304, 2560, 6912, 32, 32, num_key_value_heads=32, tie_word_embeddings=False),
    dims=_stablelm_dims,
    rules=(
        *BEFORE,
        *attention_rules(),
        vector(f"{ATTENTION}.q_layernorm.norms.{{e}}.weight", f"{_PATH}/query_norm/{{e}}/scale", "head", "head_norm"),
        vector(f"{ATTENTION}.k_layernorm.norms.{{e}}.weight", f"{_PATH}/key_norm/{{e}}/scale", "head", "head_norm"),
        *mlp_rules(),
        *_layer_norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d"),
        *_layer_norm("layers.{b}.post_attention_layernorm", "blocks/{b}/mlp_norm", "d", when="sequential"),
        *_layer_norm("norm", "final_norm", "d"),
        *unembedding(),
        *heads("score", "classifier"),
    ),
    renames=PREFIXES,
)

PHIS = (PHI, STABLELM)
