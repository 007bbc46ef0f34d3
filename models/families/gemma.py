"""Gemma 1 to 3 (Gemma Team 2024, 2025), the text models."""

from functools import partial

from eigensweep.models.families.decoder_blocks import (
    AFTER,
    BEFORE,
    PREFIXES,
    RULES,
    attention_rules,
    decoder_dims,
    mlp_rules,
    qk_norms,
)
from eigensweep.models.families.rules import Family, norm, sizes

_SANDWICH_NORMS = (
    *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d"),
    *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/attention_post_norm", "d"),
    *norm("layers.{b}.pre_feedforward_layernorm", "blocks/{b}/mlp_norm", "d"),
    *norm("layers.{b}.post_feedforward_layernorm", "blocks/{b}/mlp_post_norm", "d"),
)
_SANDWICH_RULES = (*BEFORE, *attention_rules(), *qk_norms(), *mlp_rules(), *_SANDWICH_NORMS, *AFTER)

GEMMA = Family(
    name="gemma",
    model_types=("gemma",),
    defaults=sizes(256000, 3072, 24576, 28, 16, num_key_value_heads=16, head_dim=256),
    dims=partial(decoder_dims, reads=("attention_bias",)),
    rules=RULES,
    renames=PREFIXES,
)
GEMMA2 = Family(
    name="gemma2",
    model_types=("gemma2",),
    defaults=sizes(256000, 2304, 9216, 26, 8, num_key_value_heads=4, head_dim=256),
    dims=partial(decoder_dims, reads=("attention_bias",)),
    rules=_SANDWICH_RULES,
    renames=PREFIXES,
)
GEMMA3 = Family(
    name="gemma3",
    model_types=("gemma3_text",),
    defaults={**GEMMA2.defaults, "vocab_size": 262208},
    dims=partial(decoder_dims, reads=("attention_bias",), qk_norm=True),
    rules=_SANDWICH_RULES,
    renames=PREFIXES,
)

GEMMAS = (GEMMA, GEMMA2, GEMMA3)
