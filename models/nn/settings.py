"""Typed reading of config.json: a value of another kind ends in one message with its key."""

import math
from collections.abc import Mapping
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.activations import ACTIVATIONS

Config = Mapping[str, Any]


def wrong(name: str, value: Any, expected: str) -> CheckpointError:
    """The error for a setting that is not as expected."""
    return CheckpointError(f"config.json: {name} = {value!r}: expected {expected}")


def get(config: Config, name: str, default: Any) -> Any:
    """The setting, or the default where it is absent or null."""
    value = config.get(name)
    return default if value is None else value


def integer(config: Config, name: str, default: int | None = None, least: int = 1) -> int:
    """A whole number.

    Raises:
      CheckpointError: it is none, below `least`, or missing without a default.
    """
    value = get(config, name, default)
    if value is None:
        raise CheckpointError(f"config.json: {name!r} is missing, and {config['model_type']} needs it")
    if type(value) is not int or value < least:
        raise wrong(name, value, f"a whole number of at least {least}")
    return value


def number(config: Config, name: str, default: float, most: float = math.inf) -> float:
    """A finite number from 0 to `most`.

    Raises:
      CheckpointError: it is none.
    """
    value = get(config, name, default)
    if type(value) not in (int, float) or not 0 <= value <= most or math.isinf(value):
        raise wrong(
            name, value, "a number of at least 0" + (f", at most {most:g}" if most < math.inf else "")
        )
    return float(value)


def positive(config: Config, name: str, default: float) -> float:
    """A finite number above 0.

    Raises:
      CheckpointError: it is none.
    """
    value = number(config, name, default)
    if value == 0:
        raise wrong(name, value, "a positive number")
    return value


def flag(config: Config, name: str, default: bool) -> bool:
    """True or false.

    Raises:
      CheckpointError: it is neither.
    """
    value = get(config, name, default)
    if type(value) is not bool:
        raise wrong(name, value, "true or false")
    return value


def activation(config: Config, name: str, default: str) -> str:
    """The name of one of `ACTIVATIONS`.

    Raises:
      CheckpointError: it is none of them.
    """
    value = config.get(name, default)
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise wrong(name, value, f"one of {', '.join(sorted(ACTIVATIONS))}")
    return value


def refuse(config: Config, name: str, applies: bool) -> None:
    """Raise CheckpointError if the setting is on and `applies`."""
    if applies and config.get(name):
        raise CheckpointError(
            f"config.json: {name} = {config[name]!r} is not supported for {config['model_type']}"
        )
