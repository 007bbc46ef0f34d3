"""The architectures known by name; each is a table of rules."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.families.albert import ALBERT
from eigensweep.models.families.bart import BARTS
from eigensweep.models.families.deberta import DEBERTA_V2
from eigensweep.models.families.decoders import DECODERS
from eigensweep.models.families.deepseek import DEEPSEEKS
from eigensweep.models.families.encoders import ENCODERS
from eigensweep.models.families.falcon import FALCONS
from eigensweep.models.families.gemma import GEMMAS
from eigensweep.models.families.gpt import GPTS
from eigensweep.models.families.gpt_oss import GPT_OSS
from eigensweep.models.families.granite import GRANITES
from eigensweep.models.families.llama4 import LLAMA4
from eigensweep.models.families.mamba import MAMBAS
from eigensweep.models.families.mixtures import MIXTURES
from eigensweep.models.families.modernbert import MODERNBERT
from eigensweep.models.families.mpt import MPT
from eigensweep.models.families.multimodal import text_type, wrapped
from eigensweep.models.families.phi import PHIS
from eigensweep.models.families.qwen_next import QWEN_NEXTS
from eigensweep.models.families.rules import Family, Rule
from eigensweep.models.families.t5 import T5S
from eigensweep.models.families.vision import VISIONS

FAMILIES: tuple[Family, ...] = (
    *ENCODERS,
    MODERNBERT,
    ALBERT,
    DEBERTA_V2,
    *T5S,
    *BARTS,
    *VISIONS,
    *GPTS,
    *DECODERS,
    *PHIS,
    *GEMMAS,
    *FALCONS,
    MPT,
    *MIXTURES,
    *DEEPSEEKS,
    GPT_OSS,
    LLAMA4,
    *QWEN_NEXTS,
    *MAMBAS,
    *GRANITES,
)


def family_of(config: Mapping[str, Any] | None) -> Family | None:
    """The family that serves a config's `model_type`, or its text tower's; None where it is unknown."""
    inner = text_type(config or {})
    model_type = inner or (config or {}).get("model_type")
    family = next((family for family in FAMILIES if model_type in family.model_types), None)
    return wrapped(family) if family and inner else family


def family_of_names(names: Iterable[str]) -> Family | None:
    """The one family that knows all these tensors by their names; None where none does, or several."""
    wanted = list(names)
    knowing = [family for family in FAMILIES if all(family.matching(family.rename(name)) for name in wanted)]
    return knowing[0] if len(knowing) == 1 and wanted else None


def agreed_rule(name: str) -> tuple[Rule, int | None, int | None] | None:
    """The rule, block and expert for a tensor whose architecture is not known, where all families that know its
    name agree about what it is; None where none does or they do not. A family that fuses what all others keep apart
    is outvoted; where only their towers differ, it has none.
    """
    found: dict[tuple, tuple[Rule, int | None, int | None]] = {}
    for family in FAMILIES:
        for rule, match in family.matching(family.rename(name)):
            groups = match.groupdict()
            block, expert = (None if groups.get(g) is None else int(groups[g]) for g in ("b", "e"))
            what = tuple((part.role, part.label) for part in rule.parts)
            key = (what, rule.layout, block, expert)
            first, *_ = found.setdefault(key, (rule, block, expert))
            if first.tower != rule.tower:
                found[key] = (replace(first, tower=""), block, expert)
    plain = [known for known in found.values() if len(known[0].parts) == 1]
    one = plain if len(plain) == 1 else list(found.values())
    return one[0] if len(one) == 1 else None
