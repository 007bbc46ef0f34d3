"""The architectures known by name; each is a table of rules."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.bert import BERT
from eigensweep.models.families.gpt2 import GPT2
from eigensweep.models.families.llama import LLAMA, MISTRAL, QWEN2, QWEN3
from eigensweep.models.families.rules import Family

FAMILIES: tuple[Family, ...] = (BERT, GPT2, LLAMA, MISTRAL, QWEN2, QWEN3)


def family_of(config: Mapping[str, Any] | None) -> Family | None:
    """The family that serves a config's `model_type`; None where it is unknown."""
    model_type = (config or {}).get("model_type")
    return next((family for family in FAMILIES if model_type in family.model_types), None)
