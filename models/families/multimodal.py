"""Multimodal models whose text tower is a decoder known by name: LLaVA's kin, Gemma 3, Mistral 3, Qwen-VL, Llama 4.

The text tower is read by its own family's rules; towers of images and sounds are read generically, their roles guessed.
The hub's files say `language_model.model.layers...`, modules of transformers `model.language_model.layers...`,
Qwen2-VL's files `model.layers...`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.families.rules import Family, Part, Rule, in_tower

_TEXT = {
    "aya_vision": "cohere2",
    "gemma3": "gemma3_text",
    "idefics3": "llama",
    "internvl": "qwen2",
    "llama4": "llama4_text",
    "llava": "llama",
    "llava_next": "llama",
    "llava_onevision": "qwen2",
    "mistral3": "mistral",
    "paligemma": "gemma",
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_vl_text",
    "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "smolvlm": "llama",
    "vipllava": "llama",
}
"""A wrapper's model type, and that of its text tower where config.json names none."""

_RENAMES = ((r"(?:model\.)?(?:language_model|text_model)\.(?:model\.)?(.*)", r"\1"),)
_TOWERS = (
    (r"(?:vision_tower|vision_model|visual|multi_modal_projector|connector|image_newline)(?:\..*)?", "vision"),
    (r"(?:audio_tower|audio_projector)\..*", "audio"),
)
_PROJECTOR = Rule(
    "multi_modal_projector.mm_input_projection_weight",
    ("any", "d"),
    (Part("vision/projector/kernel", "other"),),
    "conv1d",
    when="optional",
    tower="vision",
)
"""Gemma 3's, the one bare parameter of a projector: it lies (in, out)."""


def text_type(config: Mapping[str, Any]) -> str | None:
    """The model type of a multimodal model's text tower; None where the model is none of these."""
    outer, inner = config.get("model_type"), config.get("text_config")
    if not isinstance(outer, str) or outer not in _TEXT:
        return None
    named = inner.get("model_type") if isinstance(inner, Mapping) else None
    return named if isinstance(named, str) else _TEXT[outer]


def wrapped(text: Family) -> Family:
    """A text family inside a multimodal model."""
    return replace(
        text,
        rules=(*in_tower("text", text.rules), _PROJECTOR),
        renames=(*_RENAMES, *text.renames),
        towers=_TOWERS,
        text_config="text_config",
    )
