"""Gemma 1 to 3 (Gemma Team 2024, 2025), the text model; also inside Gemma 3's multimodal wrapper."""

from eigensweep.models.families.llama import (
    AFTER,
    BEFORE,
    RENAMES,
    RULES,
    attention_rules,
    decoder_dims,
    mlp_rules,
    normed_qk,
)
from eigensweep.models.families.rules import Family, norm

_SANDWICH_NORMS = (
    *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d"),
    *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/attention_post_norm", "d"),
    *norm("layers.{b}.pre_feedforward_layernorm", "blocks/{b}/mlp_norm", "d"),
    *norm("layers.{b}.post_feedforward_layernorm", "blocks/{b}/mlp_post_norm", "d"),
)
_SANDWICH_RULES = (*BEFORE, *attention_rules(), *mlp_rules(), *_SANDWICH_NORMS, *AFTER)


GEMMA = Family(
    name="gemma",
    model_types=("gemma",),
    defaults={
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
    },
    dims=decoder_dims,
    rules=RULES,
    renames=RENAMES,
)
GEMMA2 = Family(
    name="gemma2",
    model_types=("gemma2",),
    defaults={
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
    },
    dims=decoder_dims,
    rules=_SANDWICH_RULES,
    renames=RENAMES,
)
GEMMA3 = Family(
    name="gemma3",
    model_types=("gemma3_text", "gemma3"),
    defaults={**GEMMA2.defaults, "vocab_size": 262208},
    dims=normed_qk,
    rules=_SANDWICH_RULES,
    renames=(
        (r"language_model\.(?:model\.)?(.*)", r"\1"),
        (r"model\.language_model\.(.*)", r"\1"),
        *RENAMES,
    ),
    skips=(
        (r"(?:vision_tower|multi_modal_projector)\..*", "of the vision tower, no part of the text model"),
    ),
    text_config="text_config",
)
