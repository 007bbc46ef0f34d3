"""The architectures known by name; each is a table of rules."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.bert import BERT
from eigensweep.models.families.gemma import GEMMA, GEMMA2, GEMMA3
from eigensweep.models.families.gpt2 import GPT2
from eigensweep.models.families.gpt_neox import GPT_NEOX
from eigensweep.models.families.llama import LLAMA, MISTRAL, QWEN2, QWEN3
from eigensweep.models.families.moe import MIXTRAL, QWEN2_MOE, QWEN3_MOE
from eigensweep.models.families.opt import OPT
from eigensweep.models.families.phi3 import PHI3
from eigensweep.models.families.roberta import ROBERTA
from eigensweep.models.families.rules import Family

FAMILIES: tuple[Family, ...] = (
    BERT,
    ROBERTA,
    GPT2,
    LLAMA,
    MISTRAL,
    QWEN2,
    QWEN3,
    GEMMA,
    GEMMA2,
    GEMMA3,
    GPT_NEOX,
    OPT,
    PHI3,
    MIXTRAL,
    QWEN2_MOE,
    QWEN3_MOE,
)


def family_of(config: Mapping[str, Any] | None) -> Family | None:
    """The family that serves a config's `model_type`; None where it is unknown."""
    model_type = (config or {}).get("model_type")
    return next((family for family in FAMILIES if model_type in family.model_types), None)
