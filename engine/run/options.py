"""Options of whatever decomposes matrices, and the base of every study's options.

A study's options are a frozen dataclass: its fields are the configuration keys, their defaults the defaults, their
`help` what `--help` prints, their limits what is checked. There is no second list of them anywhere.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, get_type_hints

from eigensweep.engine.spectral.noise import sigma_init
from eigensweep.engine.spectral.svd import STRATEGIES

LARGEST = 2**63 - 1
MOST_NUMBERS = 10_000  # in one range: more is a slip
SIGMAS = ("bulk", "entries", "init")


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    inside: tuple[float, float] | None = None,
    counts: bool = True,
) -> Any:
    """A field of an options dataclass.

    Args:
      default: its default; the field's annotation says which type it has.
      help: one line for the user.
      choices: the words that it may be; empty for any.
      least, most: bounds of a number, themselves allowed.
      inside: bounds of a number, themselves not allowed.
      counts: whether the results depend on it; what only sets speed or memory does not.
    """
    limits = {"choices": tuple(choices), "least": least, "most": most, "inside": inside}
    return dataclasses.field(default=default, metadata={"help": help, "counts": counts, **limits})


@dataclass(frozen=True)
class Options:
    """The base: `Options(...)` checks every field and takes words for tuples ("query,key", "0-3,7").

    COMMAND is the name of the command that takes them; ALIASES what version 0.1 called some keys.
    """

    COMMAND: ClassVar[str] = ""
    ALIASES: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for f in fields(self):
            value = _typed(f.name, getattr(self, f.name), kinds[f.name])
            _check(f.name, value, f.metadata)
            object.__setattr__(self, f.name, value)

    @classmethod
    def by_name(cls) -> dict[str, dataclasses.Field]:
        """The fields by name."""
        return {f.name: f for f in fields(cls)}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Options from a mapping, say a config.

        Raises:
          ValueError: an unknown key, with the nearest known one; a value that is not allowed.
        """
        for key in values:
            if key not in cls.by_name():
                near = difflib.get_close_matches(key, cls.by_name(), 1)
                hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(cls.by_name())}"
                raise ValueError(f"there is no option {key!r}{hint}")
        return cls(**values)

    @classmethod
    def check_types(cls, values: Mapping[str, Any]) -> None:
        """Hold the options of a manifest, of whatever version, against the fields' types.

        Raises:
          TypeError, ValueError: one is of another type, or beyond its limits.
        """
        kinds = get_type_hints(cls)
        for key in set(values) & set(cls.by_name()):
            limits = {name: cls.by_name()[key].metadata.get(name) for name in ("least", "most", "inside")}
            _check(key, _typed(key, values[key], kinds[key]), limits)  # words may have been others

    def to_json(self) -> dict[str, Any]:
        """What the numbers depend on, as a JSON-able dict: equal dicts mean equal numbers."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("counts", True)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items()}


@dataclass(frozen=True)
class MatrixOptions(Options):
    """Options of what is computed of single matrices."""

    seed: int = option(0, "root of every random number", least=0, most=LARGEST)
    level: float = option(
        0.01, "level of the outlier tests a matrix and side, and of Benjamini-Hochberg", inside=(0, 0.5)
    )
    sigma: str = option(
        "bulk",
        "which standard deviation sets the edges: the robust fit to the bulk, that of the entries, or the option init",
        choices=SIGMAS,
    )
    init: str = option("fan_out", "for sigma = init: fan_out (1/sqrt(m)), fan_in (1/sqrt(n)), or a number as 0.02")
    strategy: str = option("auto", "how matrices are decomposed (engine.spectral.svd)", choices=STRATEGIES)

    def __post_init__(self) -> None:
        super().__post_init__()
        sigma_init(1, 1, self.init)  # says what is wrong with it


def words(text: str) -> tuple[str, ...]:
    """ "query, key" -> ("query", "key"); "" -> ()."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(key: str, text: str) -> tuple[int, ...]:
    """ "0-3,7" -> (0, 1, 2, 3, 7), each number once; "" -> ().

    Raises:
      ValueError: `text` is not of that form.
    """
    result: list[int] = []
    for word in words(text):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        wanted = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
        if not 0 < len(wanted) <= MOST_NUMBERS:
            raise ValueError(f"{key} is {text!r}; expected numbers and ranges such as 0-3,7")
        result += wanted
    return tuple(dict.fromkeys(result))


def _typed(key: str, value: Any, kind: Any) -> Any:
    """`value` as the field's type: tuples from lists and text, floats from whole numbers."""
    if kind == tuple[str, ...]:
        return words(value) if isinstance(value, str) else tuple(str(word) for word in value)
    if kind == tuple[float, ...]:
        return _floats(key, value)
    if kind == tuple[int, ...]:
        if isinstance(value, str | int) and not isinstance(value, bool):
            return numbers(key, str(value))
        return tuple(int(number) for number in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and hasattr(value, "__index__") and not isinstance(value, bool):
        return int(value)  # NumPy's integers, too
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{key} is {value!r}; expected {kind.__name__}")
    return value


def _floats(key: str, value: Any) -> tuple[float, ...]:
    """ "1, 0.5" -> (1.0, 0.5); a single number is one of its own."""
    parts = words(value) if isinstance(value, str) else [value] if isinstance(value, int | float) else value
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key} is {value!r}; expected numbers such as 1,0.5") from error
    if not all(map(math.isfinite, found)):
        raise ValueError(f"{key} is {value!r}; expected finite numbers")
    return found


def _check(key: str, value: Any, limits: Mapping[str, Any]) -> None:
    choices, least, most, inside = (limits.get(name) for name in ("choices", "least", "most", "inside"))
    if choices and value not in choices:
        named = ", ".join(word or '""' for word in choices)
        raise ValueError(f"{key} is {value!r}; expected one of {named}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key} is {value}; expected a finite number")
    if inside and not inside[0] < value < inside[1]:
        raise ValueError(f"{key} is {value}; expected a number between {inside[0]:g} and {inside[1]:g}")
    if least is not None and value < least:
        raise ValueError(f"{key} is {value}; expected at least {least}")
    if most is not None and value > most:
        raise ValueError(f"{key} is {value}; expected at most {most}")
