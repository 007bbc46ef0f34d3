"""What a LoRA adapter changes: the updates delta W = scale B A, and the matrices it stores in full.

Hu et al. 2021 (https://arxiv.org/abs/2106.09685): scale = alpha / r; rank-stabilized (Kalajdzievski 2023,
https://arxiv.org/abs/2312.03732): scale = alpha / sqrt(r). B A maps inputs to outputs whatever way the base model
stores the weight, so PEFT's `fan_in_fan_out` changes nothing here. DoRA (Liu et al. 2024,
https://arxiv.org/abs/2402.09353) brings every output of W + scale B A to a length of its own: what that changes in W
needs W (see `adapted`); alone, its B A is swept as `:lora`.
"""

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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

_FACTOR = re.compile(
    r"(?P<module>.*)\.lora_(?:embedding_)?(?P<factor>[AB]|magnitude_vector)(?:\.default)?(?:\.weight)?"
)
_UNSUPPORTED = {
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


@dataclass(frozen=True)
class Update:
    """delta W = scale B A of one module's weight, (out, in); with a magnitude (out,), DoRA's directions.

    Attributes:
      module: the module's name in the base model.
      a, b: (r, in) and (out, r).
      scale: what B A is multiplied by.
      magnitude: DoRA's lengths of the outputs; None without.
    """

    module: str
    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.b.shape[0], self.a.shape[1]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that it is made of."""
        return (self.a, self.b) if self.magnitude is None else (self.a, self.b, self.magnitude)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows of scale B A. In float64, to be rounded once: noise in the product would pass for rank beyond r."""
        return self.scale * (self.b.read(start, stop).astype(np.float64) @ self.a.read().astype(np.float64))

    def tensor(self) -> Tensor:
        """scale B A under the base weight's name."""
        dtype = "float64" if self.a.dtype == self.b.dtype == "float64" else "float32"
        reader = functools.partial(_rounded_rows, self, dtype)
        return Tensor(f"{self.module}.weight", self.shape, dtype, self.a.file, reader)


def _rounded_rows(update: Update, dtype: str, start: int, stop: int) -> np.ndarray:
    return update.rows(start, stop).astype(dtype)


def _add_delta(draft: Draft, update: Update) -> None:
    name, outputs, what = f"{update.module}.weight", update.shape[0], "delta" if update.magnitude is None else "lora"
    parts, tower, block, expert, guessed = _parts(name, outputs)
    for share, part in enumerate(parts):
        rows = (share * outputs // len(parts), (share + 1) * outputs // len(parts))
        cut = Cut(update.tensor(), "linear", rows=rows)
        label = f":{part.label}" if part.label else ""
        known = (part.role, block, expert)
        matrix = cut.as_matrix(f"{name}{label}:{what}", known, guessed=guessed, tower=tower)
        draft.add_matrix(_key(block, name, share), matrix, cut)
    for tensor in update.tensors:
        draft.skip(tensor, f"a part of {name}:{what}, analysed there")


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


@dataclass
class Adapter:
    """What an adapter's files hold, sorted out.

    Attributes:
      updates: by the name of the base weight.
      full: weights stored in full (`modules_to_save`), under their names in the base model.
      draft: what was left out, and what the user should know.
    """

    updates: dict[str, Update] = field(default_factory=dict)
    full: list[Tensor] = field(default_factory=list)
    draft: Draft = field(default_factory=Draft)


def read_adapter(source: Source, where: str) -> Adapter:
    """Sorts out an adapter's tensors.

    Args:
      source: of kind "lora".
      where: the path of adapter_config.json, for messages.

    Raises:
      CheckpointError: not LoRA, or a variant whose update is not scale B A; a factor without its partner; ranks that
        contradict the config.
    """
    config = source.config or {}
    adapter = Adapter(draft=Draft(warnings=_check_config(config, where)))
    scales = _Scales(config, where)
    factors: dict[str, dict[str, Tensor]] = {}
    for tensor in source.tensors.values():
        if match := _FACTOR.fullmatch(tensor.name):
            factors.setdefault(_base_name(match["module"] + "."), {})[match["factor"]] = tensor
        elif ".lora_" in tensor.name:
            adapter.draft.skip(tensor, "of the adapter, but neither factor of an update (a bias, mostly)")
        elif "trainable_tokens" in tensor.name:
            adapter.draft.skip(tensor, "single retrained rows of an embedding, no matrix of their own")
        else:
            adapter.full.append(replace(tensor, name=_base_name(tensor.name)))
    for module, parts in factors.items():
        if update := _update(adapter.draft, scales, module.removesuffix("."), parts, config, source.name, where):
            adapter.updates[f"{update.module}.weight"] = update
    return adapter


def _update(
    draft: Draft,
    scales: _Scales,
    module: str,
    parts: Mapping[str, Tensor],
    config: Mapping[str, Any],
    name: str,
    where: str,
) -> Update | None:
    """A module's update; None, and its factors left out, where it is no matrix."""
    if not {"A", "B"} <= set(parts):
        there = next(iter(parts.values()))
        raise CheckpointError(f"{name}: {there.file}: {there.name} has no partner: A and B come in pairs")
    a, b, magnitude = parts["A"], parts["B"], parts.get("magnitude_vector")
    if len(a.shape) != 2 or len(b.shape) != 2 or any(tensor.dtype not in FLOATING for tensor in parts.values()):
        for tensor in parts.values():
            draft.skip(tensor, f"factor of an update that is no matrix: {list(tensor.shape)} {tensor.dtype}")
        return None
    if a.shape[0] != b.shape[1]:
        raise CheckpointError(f"{where}: {a.name} {list(a.shape)} and {b.name} {list(b.shape)} have different ranks")
    if bool(config.get("use_dora")) != (magnitude is not None):
        has = "has no" if magnitude is None else "has a"
        raise CheckpointError(
            f"{where}: use_dora is {config.get('use_dora')!r}, and {module} {has} lora_magnitude_vector"
        )
    if magnitude is not None and math.prod(magnitude.shape) != b.shape[0]:
        raise CheckpointError(
            f"{where}: {magnitude.name} {list(magnitude.shape)} does not fit the {b.shape[0]} outputs of {b.name}"
        )
    return Update(module, a, b, scales.of(module, a), magnitude)


def plan_lora(source: Source, where: str) -> Plan:
    """The updates of an adapter, and what it stores in full, without its base; see `read_adapter`."""
    adapter = read_adapter(source, where)
    draft = adapter.draft
    for tensor in adapter.full:
        _add_full(draft, tensor)
    for update in adapter.updates.values():
        _add_delta(draft, update)
    if any(update.magnitude is not None for update in adapter.updates.values()):
        draft.warnings.append(
            f"{where}: DoRA also rescales the base weights, which the adapter does not hold: scale B A alone is swept, "
            "as :lora; with --base=BASE_MODEL the whole update is"
        )
    return replace(draft.finish(), cuts={})
