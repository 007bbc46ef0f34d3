"""Rotary positions in config.json: `rope_parameters`, as transformers has standardised them."""

import math
from collections.abc import Mapping
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.rope import Rope

_NEEDS = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": ("factor", "original_max_position_embeddings"),
    "longrope": ("original_max_position_embeddings",),
}
_MAY = {
    "yarn": ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"),
    "longrope": ("attention_factor", "factor"),
}
_KNOWN = {"phi3": ("default", "longrope")}


def read_rope(c: Any, given: Any, head_dim: int) -> Rope:
    """One kind of rotary positions.

    Args:
      c: the configuration.
      given: its `rope_parameters`, or the entry for some of the blocks.
      head_dim: entries of a head.

    Raises:
      CheckpointError: a kind or a number that does not serve.
    """
    given = given if isinstance(given, Mapping) else {}
    kind, known = given.get("rope_type"), _KNOWN.get(c.model_type, tuple(_NEEDS))
    if any(isinstance(value, Mapping) for value in given.values()) or kind not in known:
        raise CheckpointError(
            f"config.json: rope_type {kind!r} is not supported for {c.model_type}; supported: {', '.join(known)}, the "
            "same for all blocks"
        )
    numbers = {name: given.get(name) for name in ("rope_theta", *_NEEDS[kind])}
    numbers |= {name: given[name] for name in _MAY.get(kind, ()) if given.get(name) is not None}
    numbers["partial_rotary_factor"] = given.get("partial_rotary_factor", 1.0)
    for name, value in numbers.items():
        _positive(name, value)
    low, high = numbers.get("low_freq_factor", 1.0), numbers.get("high_freq_factor", 4.0)
    if high <= low:
        raise CheckpointError(f"config.json: high_freq_factor = {high}: expected more than low_freq_factor, {low}")
    dim = _dim(c, kind, numbers["partial_rotary_factor"], head_dim)
    theta, factor = float(numbers["rope_theta"]), numbers.get("factor", 1.0)
    original = numbers.get("original_max_position_embeddings", c.max_position_embeddings)
    rope = Rope(dim, theta, kind, float(factor), float(low), float(high), int(original))
    return rope if kind not in _MAY else _longer(c, rope, numbers, given)


def _longer(c: Any, rope: Rope, numbers: dict[str, Any], given: Mapping[str, Any]) -> Rope:
    """yarn and longrope."""
    if rope.theta == 1 or rope.original_max_positions < 2:
        raise CheckpointError(f"config.json: rope_type {rope.kind!r} needs a rope_theta and a context beyond 1")
    attention = numbers.get("attention_factor")
    fields = vars(rope) | {"beta_fast": numbers.get("beta_fast", 32.0), "beta_slow": numbers.get("beta_slow", 1.0)}
    if rope.kind == "yarn":
        if attention is None:
            attention = _mscale(rope.factor)
            if "mscale" in numbers and "mscale_all_dim" in numbers:
                scale, over = (_mscale(rope.factor, numbers[name]) for name in ("mscale", "mscale_all_dim"))
                attention = scale / over
        return Rope(
            **fields | {"attention_factor": attention, "truncate": bool(c.rope_parameters.get("truncate", True))}
        )
    if attention is None:
        factor = numbers.get("factor", c.max_position_embeddings / rope.original_max_positions)
        attention = math.sqrt(1 + math.log(max(factor, 1.0)) / math.log(rope.original_max_positions))
    factors = {f"{name}s": _factors(given, name, rope.dim) for name in ("short_factor", "long_factor")}
    return Rope(**fields | factors | {"attention_factor": attention})


def _mscale(factor: float, by: float = 1.0) -> float:
    """Peng et al. 2023: how much the attention's temperature falls with the stretch of the context."""
    return 0.1 * by * math.log(factor) + 1.0 if factor > 1 else 1.0


def _factors(given: Mapping[str, Any], name: str, dim: int) -> tuple[float, ...]:
    values = given.get(name)
    expected = (dim + 1) // 2
    if not isinstance(values, list | tuple) or len(values) != expected:
        raise CheckpointError(f"config.json: {name}: expected a list of {expected} numbers, one a frequency")
    for value in values:
        _positive(name, value)
    return tuple(float(value) for value in values)


def _positive(name: str, value: Any) -> None:
    if type(value) not in (int, float) or not 0 < value < math.inf or value > 1e300:
        raise CheckpointError(f"config.json: {name} = {value!r}: expected a positive number")


def _dim(c: Any, kind: str, fraction: float, head_dim: int) -> int:
    """How many entries of a head turn.

    Part of a head turns in GPT-NeoX and Phi-3; in the others all of it, whatever their config says, or, with a
    scaling beside it, shapes that do not fit.
    """
    partial = c.model_type in ("gpt_neox", "phi3")
    if fraction > 1 or (fraction != 1 and not partial and kind != "default"):
        expected = "at most 1" if fraction > 1 else f"1 beside rope_type {kind!r}"
        raise CheckpointError(f"config.json: partial_rotary_factor = {fraction}: expected {expected}")
    dim = int(head_dim * fraction) if partial else head_dim
    if dim + dim % 2 > head_dim or dim < 1 or (kind == "dynamic" and dim <= 2):
        raise CheckpointError(
            f"config.json: {dim} rotary entries of {head_dim} a head are not supported for {c.model_type}"
        )
    return dim
