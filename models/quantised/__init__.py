"""Quantised weights as single tensors: a format a file, and here the finding of them among a checkpoint's tensors.

Packed codes, scales, zeros and whatever else a weight is stored in become one `Tensor` whose rows are dequantised when
they are read; all that follows sees a weight like any other. What no format can read is left out with all of its parts.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

from eigensweep.models.errors import listed
from eigensweep.models.families import family_of
from eigensweep.models.matrix import PACKED, Skipped, Tensor
from eigensweep.models.quantised import bitsandbytes, fp4, packed, scaled
from eigensweep.models.quantised.weight import Settings, Tensors, UnreadableError, Weight
from eigensweep.models.sources import Source

_FORMATS = (bitsandbytes, packed, fp4, scaled)
_CODES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", *scaled.FP8, *PACKED)
_PART = re.compile(
    r"(?:.*[._])?(?:q?weights?_?(?:packed|shape|format)?|w_q|compressed|bitmask|row_offsets|blocks|codes|codebooks?|_data|q?zeros?|zero_points?|g_idx"
    r"|(?:q?scales?|scale_inv|scale_2|global_scale|_?scaling|scale_and_zero|_zero|_shift|meta|perm|tables?|su|sv)"
    r"|SCB|(?:nested_)?(?:absmax|quant_map)|quant_state\.bitsandbytes__\w+|max_val|min_val)",
    re.IGNORECASE,
)
"""Names of what lies beside packed codes, after the module's own name."""
_METHODS = ("", "fp8", "fbgemm_fp8", "compressed-tensors", "modelopt", "mxfp4", "bitsandbytes", "gptq", "awq")
_DEPTH = 4  # how far below a module its parts may lie
_ORPHANS = re.compile(
    r".*[._](?:qzeros|weight_scale(?:_inv|_2)?|weight_(?:zero_point|global_scale|packed|format)|SCB"
    r"|(?:nested_)?absmax|(?:nested_)?quant_map|quant_state\.bitsandbytes__\w+|qscales?|g_idx)"
)
"""Names that only parts of quantised weights have."""
_SCALES = ("scale", "scales", "zero", "zeros")  # ends of names that are matrices nowhere but in quantised models
_ACTIVATIONS = re.compile(
    r".*[._](?:input|output|activation|[qkv]|act|kv_cache|prob)_(?:global_)?(?:scale|zero_point)(?:_ub|_inv)?"
)


def dequantised(source: Source) -> Source:
    """A source with every quantised weight as one tensor, and its parts nowhere else.

    Returns:
      The source itself where nothing is quantised.
    """
    settings = Settings.of(source.config)
    second = {name: replace(source.tensors[kept], name=name) for name, kept in source.aliases.items()}
    tensors = {**source.tensors, **second}
    found, refused = _search(tensors, settings)
    used = {part for weight in found.values() for part in weight.parts}
    left_out = {part: f"part of a quantised weight that is not read: {e.reason}" for e in refused for part in e.parts}
    left_out |= dict(_leftovers(tensors, used | left_out.keys(), settings))
    if not found and not left_out:
        return _said(source)
    stored_turned = _stored_turned(source.config)
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in found:
            whole = found[name].tensor
            other = found[name].turned and len(whole.shape) == 2 and stored_turned(whole.name)
            kept[whole.name] = _turned(whole) if other else whole
        elif name not in used and name not in left_out and name not in second:
            kept[name] = tensor
    aliases = {name: first for name, first in source.aliases.items() if first in kept and name not in kept}
    aliases = {name: first for name, first in aliases.items() if name not in used and name not in left_out}
    skipped = source.left_out + tuple(
        Skipped(name, tensors[name].shape, tensors[name].dtype, why) for name, why in left_out.items()
    )
    warnings = (*source.warnings, *_notes(kept.values(), left_out))
    return replace(source, tensors=kept, aliases=aliases, left_out=skipped, warnings=warnings)


def _search(tensors: Tensors, settings: Settings) -> tuple[dict[str, Weight], list[UnreadableError]]:
    """The quantised weights by the name of their codes, and those that cannot be read."""
    found: dict[str, Weight] = {}
    refused: list[UnreadableError] = []
    used: set[str] = set()
    names: set[str] = set()
    for name in tensors:
        try:
            weight = None if name in used else _find(name, tensors, settings)
            if weight is None:
                continue
            whole = weight.tensor.name
            if whole in names or (whole in tensors and whole not in weight.parts):
                raise UnreadableError(weight.parts, f"{whole} is there a second time")
        except UnreadableError as e:
            refused.append(e)
            used.update(e.parts)
            continue
        found[name] = weight
        names.add(whole)
        used.update(weight.parts)
    return found, refused


def _find(name: str, tensors: Tensors, settings: Settings) -> Weight | None:
    for kind in _FORMATS:
        if weight := kind.find(name, tensors, settings):
            return weight
    return None


def _leftovers(tensors: Tensors, used: Set[str], settings: Settings) -> Iterator[tuple[str, str]]:
    """What is a part of some quantised weight, but of none that was found; with the reason."""
    unknown = bool(settings.values) and settings.method not in _METHODS
    modules = {_module(name) for name, t in tensors.items() if name not in used and _is_codes(name, t, unknown)}
    said = f" (quant_method {settings.method})" if settings.method else ""
    for name, tensor in tensors.items():
        own = name.removeprefix(_module(name))
        if name in used:
            continue
        beside = _module(name) in modules and _PART.fullmatch(own) and tensor.dtype not in scaled.FP8
        below = unknown and own != "bias" and not modules.isdisjoint(_above(name))
        if settings.values and _ACTIVATIONS.fullmatch(name):
            yield name, "a scale of activations, no weight"
        elif beside or below:
            yield name, f"part of a quantised weight that is not read: its packing is not known{said}"
        elif _ORPHANS.fullmatch(name) or (settings.values and own.endswith(_SCALES) and len(tensor.shape) > 1):
            yield name, f"part of a quantised weight whose codes are not beside it{said}"


def _is_codes(name: str, tensor: Tensor, by_any_name: bool) -> bool:
    """Whether a tensor looks like codes: small integers or floats of 8 bits, of two axes or more."""
    if tensor.dtype not in _CODES or len(tensor.shape) < 2:
        return False
    return by_any_name or _PART.fullmatch(name.removeprefix(_module(name))) is not None


def _above(name: str) -> list[str]:
    """The modules that a tensor lies in, at any depth."""
    words = name.split(".")[-_DEPTH:-1]
    start = name.removesuffix(".".join(name.split(".")[-_DEPTH:]))
    return [start + ".".join(words[:count]) + "." for count in range(len(words), 0, -1)]


def _module(name: str) -> str:
    """The module that a part belongs to: its name before `weight` or before the last dot, with the dot."""
    stem, _, own = name.rpartition(".")
    if own.startswith(("_", "bitsandbytes__")) or own in ("absmax", "quant_map", "nested_absmax", "nested_quant_map"):
        stem = stem.removesuffix(".quant_state").rpartition(".")[0]
    return f"{stem}." if stem else ""


def _stored_turned(config: Mapping[str, Any] | None) -> Callable[[str], bool]:
    """Whether an architecture stores a weight (in, out), by its name."""
    family = family_of(config)

    def turned(name: str) -> bool:
        assert family is not None
        renamed = family.rename(name)
        rules = (rule for rule in family.rules if rule.layout == "conv1d" and not rule.stacked)
        return any(rule.regex.fullmatch(renamed) for rule in rules)

    return turned if family else lambda _: False


def _turned(tensor: Tensor) -> Tensor:
    """The transpose of a matrix."""

    def transposed(read: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
        return lambda start, stop: read(0, tensor.shape[0])[:, start:stop].T

    rounding = tensor.rounding
    if rounding and rounding.blocks:
        rounding = replace(rounding, blocks=transposed(rounding.blocks))
    shape, reader = tensor.shape[::-1], transposed(tensor.reader)
    return replace(tensor, shape=shape, reader=reader, rounding=rounding)


def _said(source: Source) -> Source:
    """A source whose quantised weights were found where it was opened (GGUF), and the note on them."""
    notes = _notes(source.tensors.values(), {})
    return replace(source, warnings=(*source.warnings, *notes))


def _notes(tensors: Iterable[Tensor], left_out: Mapping[str, str]) -> Iterator[str]:
    """What the user should know: a line on what was dequantised, one on what was not."""
    if kinds := Counter(tensor.rounding.said for tensor in tensors if tensor.rounding):
        yield (
            f"{kinds.total()} weights are stored quantised and read dequantised "
            f"({listed([f'{count} {said}' for said, count in kinds.items()])}): their noise includes rounding"
        )
    if left_out:
        reasons = Counter(left_out.values())
        yield (
            f"{len(left_out)} tensors of quantised weights are left out: "
            f"{listed([f'{count} {reason}' for reason, count in reasons.items()])}"
        )
