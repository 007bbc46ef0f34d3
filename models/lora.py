"""What a LoRA adapter changes: the updates delta W = scale B A, and the matrices it stores in full.

Hu et al. 2021 (https://arxiv.org/abs/2106.09685): scale = alpha / r; rank-stabilized (Kalajdzievski 2023,
https://arxiv.org/abs/2312.03732): scale = alpha / sqrt(r). B A maps inputs to outputs whatever way the base model
stores the weight, so PEFT's `fan_in_fan_out` changes nothing here.
"""

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.families import agreed_rule
from eigensweep.models.families.rules import Part
from eigensweep.models.generic import natural, reason_to_skip
from eigensweep.models.matrix import FLOATING, Cut, Tensor
from eigensweep.models.patterns import Patterns
from eigensweep.models.plan import Draft, Plan
from eigensweep.models.roles import guess_role
from eigensweep.models.sources import Source

_FACTOR = re.compile(r"(?P<module>.*)\.lora_(?P<table>embedding_)?(?P<factor>[AB])(?:\.default)?(?:\.weight)?")
_UNSUPPORTED = {
    "use_dora": "DoRA also rescales the base weight, which the adapter does not hold",
    "use_qalora": "QALoRA pools the inputs of A",
    "use_bdlora": "BD-LoRA's factors are block diagonal",
    "kasa_config": "KaSA's update has a third factor",
    "monteclora_config": "MonteCLoRA draws its factors",
    "target_parameters": "updates of bare parameters (stacked experts) are no single B A",
}
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def _number(config: Mapping[str, Any], key: str, where: str) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CheckpointError(f"{where}: {key} is {value!r}, a number was expected")
    return value


class _Scales:
    """What B A is multiplied by, module by module, as an adapter's config says."""

    def __init__(self, config: Mapping[str, Any], where: str):
        self._config, self._where = config, where
        self._patterns: dict[str, Patterns] = {}
        for key in ("rank_pattern", "alpha_pattern"):
            entries = config.get(key) or {}
            if not isinstance(entries, Mapping):
                raise CheckpointError(f"{where}: {key} is {entries!r}, an object was expected")
            self._patterns[key] = Patterns(entries, f"{where}: {key}")

    def of(self, module: str, a: Tensor) -> float:
        """alpha/r or alpha/sqrt(r); CheckpointError where r is not the rank of the factor A."""
        r = self._number("rank_pattern", module, "r")
        if r != a.shape[0] or r < 1:
            raise CheckpointError(f"{self._where}: gives rank {r} for {a.name}, whose shape is {list(a.shape)}")
        alpha = self._number("alpha_pattern", module, "lora_alpha")
        return alpha / (math.sqrt(r) if self._config.get("use_rslora") else r)

    def _number(self, patterns: str, module: str, default: str) -> float:
        fits = self._patterns[patterns].first(module)
        if fits is None:
            return _number(self._config, default, self._where)
        return _number(self._config[patterns], fits, f"{self._where}: {patterns}")


def _check_config(config: Mapping[str, Any], where: str) -> list[str]:
    """Refuses what is no plain LoRA; warns of what can be misread."""
    if (kind := config.get("peft_type")) != "LORA":
        raise CheckpointError(f"{where}: peft_type {kind!r} is not supported, only LORA is")
    for key, reason in _UNSUPPORTED.items():
        if config.get(key):
            raise CheckpointError(f"{where}: {key} is not supported: {reason}")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_CHANGES_BASE):
        return [
            f"{where}: init_lora_weights={start!r} changed the base weights: B A is no update of the published ones"
        ]
    return []


def _base_name(name: str) -> str:
    """A tensor's name as in the base model."""
    name = name.removeprefix("base_model.model.")
    return re.sub(r"\.(?:modules_to_save(?:\.default)?|base_layer)(?=\.)", "", name)


def _parts(name: str, outputs: int) -> tuple[list[Part], str, int | None, int | None, bool]:
    """What a base weight consists of, with tower, block, expert and whether that was guessed.

    The base model's config is not at hand: a fused weight is split only where its shares must be equal.
    """
    if known := agreed_rule(name):
        rule, block, expert = known
        equal = len({part.size for part in rule.parts}) == 1 and outputs % len(rule.parts) == 0
        if len(rule.parts) == 1 or (equal and not rule.groups):
            return list(rule.parts), rule.tower, block, expert, False
    role, block, expert = guess_role(name)
    return [Part("", role)], "", block, expert, True


def _delta_rows(a: Tensor, b: Tensor, scale: float, dtype: str, start: int, stop: int) -> np.ndarray:
    # In float64, rounded once: noise in the product would pass for rank beyond r.
    product = b.read(start, stop).astype(np.float64) @ a.read().astype(np.float64)
    return (scale * product).astype(dtype)


def _add_delta(draft: Draft, scales: _Scales, module: str, a: Tensor, b: Tensor, where: str) -> None:
    if len(a.shape) != 2 or len(b.shape) != 2 or a.dtype not in FLOATING or b.dtype not in FLOATING:
        for tensor in (a, b):
            draft.skip(tensor, f"factor of an update that is no matrix: {list(tensor.shape)} {tensor.dtype}")
        return
    if a.shape[0] != b.shape[1]:
        raise CheckpointError(f"{where}: {a.name} {list(a.shape)} and {b.name} {list(b.shape)} have different ranks")
    scale = scales.of(module, a)
    name, outputs = f"{module}.weight", b.shape[0]
    dtype = "float64" if a.dtype == b.dtype == "float64" else "float32"
    reader = functools.partial(_delta_rows, a, b, scale, dtype)
    delta = Tensor(name, (outputs, a.shape[1]), dtype, a.file, reader)
    parts, tower, block, expert, guessed = _parts(name, outputs)
    for share, part in enumerate(parts):
        cut = Cut(delta, "linear", rows=(share * outputs // len(parts), (share + 1) * outputs // len(parts)))
        label = f":{part.label}" if part.label else ""
        what = (part.role, block, expert)
        matrix = cut.as_matrix(f"{name}{label}:delta", what, guessed=guessed, tower=tower)
        draft.add_matrix(_key(block, name, share), matrix, cut)
    for tensor in (a, b):
        draft.skip(tensor, f"a factor of {name}:delta, analysed there")


def _key(block: int | None, name: str, share: int) -> tuple:
    return (1 if block is not None else 2, block or 0, natural(name), share)


def _add_full(draft: Draft, tensor: Tensor) -> None:
    if reason := reason_to_skip(tensor):
        draft.skip(tensor, reason)
        return
    if len(tensor.shape) != 2:
        draft.skip(tensor, "a stack stored in full beside an adapter is not read")
        return
    known = agreed_rule(tensor.name)
    if known and len(known[0].parts) == 1:
        rule, block, expert = known
        role, layout, tower = rule.parts[0].role, rule.layout, rule.tower
    else:
        (role, block, expert), layout, tower, known = guess_role(tensor.name), "linear", "", None
    cut = Cut(tensor, layout)
    matrix = cut.as_matrix(tensor.name, (role, block, expert), guessed=known is None, tower=tower)
    draft.add_matrix(_key(block, tensor.name, 0), matrix, cut)


def plan_lora(source: Source, where: str) -> Plan:
    """The updates of an adapter, and what it stores in full (`modules_to_save`).

    Args:
      source: of kind "lora".
      where: the path of adapter_config.json, for messages.

    Raises:
      CheckpointError: not LoRA, or a variant whose update is not scale B A; a factor without its partner; ranks that
        contradict the config.
    """
    config = source.config or {}
    draft = Draft(warnings=_check_config(config, where))
    scales = _Scales(config, where)
    factors: dict[str, dict[str, Tensor]] = {}
    for tensor in source.tensors.values():
        if match := _FACTOR.fullmatch(tensor.name):
            factors.setdefault(_base_name(match["module"] + "."), {})[match["factor"]] = tensor
        elif ".lora_" in tensor.name:
            draft.skip(tensor, "of the adapter, but neither factor of an update (a bias, mostly)")
        elif "trainable_tokens" in tensor.name:
            draft.skip(tensor, "single retrained rows of an embedding, no matrix of their own")
        else:
            _add_full(draft, replace(tensor, name=_base_name(tensor.name)))
    for module, pair in factors.items():
        if len(pair) != 2:
            (there,) = pair.values()
            raise CheckpointError(f"{source.name}: {there.file}: {there.name} has no partner: A and B come in pairs")
        _add_delta(draft, scales, module.removesuffix("."), pair["A"], pair["B"], where)
    return replace(draft.finish(), cuts={})
