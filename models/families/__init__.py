"""The architectures known by name; each is a table of rules."""

from collections.abc import Iterable, Mapping
from typing import Any

from eigensweep.models.families.decoders import DECODERS
from eigensweep.models.families.encoders import ENCODERS
from eigensweep.models.families.gemma import GEMMAS
from eigensweep.models.families.gpt import GPTS
from eigensweep.models.families.mixtures import MIXTURES
from eigensweep.models.families.rules import Family, Rule

FAMILIES: tuple[Family, ...] = (*ENCODERS, *GPTS, *DECODERS, *GEMMAS, *MIXTURES)


def family_of(config: Mapping[str, Any] | None) -> Family | None:
    """The family that serves a config's `model_type`; None where it is unknown."""
    model_type = (config or {}).get("model_type")
    return next((family for family in FAMILIES if model_type in family.model_types), None)


def family_of_names(names: Iterable[str]) -> Family | None:
    """The one family that knows all these tensors by their names; None where none does, or several."""
    wanted = list(names)
    knowing = [
        family
        for family in FAMILIES
        if all(any(rule.regex.fullmatch(family.rename(name)) for rule in family.rules) for name in wanted)
    ]
    return knowing[0] if len(knowing) == 1 and wanted else None


def agreed_rule(name: str) -> tuple[Rule, int | None, int | None] | None:
    """The rule, block and expert for a tensor whose architecture is not known, where all families that know its
    name agree about what it is; None where none does or they do not.
    """
    found: dict[tuple, tuple[Rule, int | None, int | None]] = {}
    for family in FAMILIES:
        for rule in family.rules:
            if match := rule.regex.fullmatch(family.rename(name)):
                groups = match.groupdict()
                block, expert = (None if groups.get(g) is None else int(groups[g]) for g in ("b", "e"))
                what = tuple((part.role, part.label) for part in rule.parts)
                found.setdefault((what, rule.layout, rule.tower, block, expert), (rule, block, expert))
    return next(iter(found.values())) if len(found) == 1 else None
