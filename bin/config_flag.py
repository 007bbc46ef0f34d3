"""The flag `--config=NAME or FILE` with `--config.x=y` overrides, over ml_collections."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from absl import flags
from ml_collections import config_flags

from eigensweep import configs
from eigensweep.bin.cli import UserError

MOST_NUMBERS = 10_000  # in one range: more is a slip
FOLDER = Path(next(iter(configs.__path__)))


def define(default: str) -> flags.FlagHolder:
    """Define `--config`; `default` and bare names are files of `eigensweep.configs`."""
    return config_flags.DEFINE_config_file(
        "config", str(FOLDER / f"{default}.py"), f"name of a config ({', '.join(names())}) or a Python file"
    )


def names() -> list[str]:
    """The configs that come with eigensweep."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def expand_names(argv: list[str]) -> list[str]:
    """`--config=minilm` becomes the path of that file; paths stay as they are.

    Raises:
      UserError: if there is no such config.
    """
    result = list(argv)
    for i, word in enumerate(argv):
        if word in ("--config", "-config") and i + 1 < len(argv):
            result[i + 1] = _path(argv[i + 1])
        elif word.startswith(("--config=", "-config=")):
            flag, value = word.split("=", 1)
            result[i] = f"{flag}={_path(value)}"
    return result


def _path(value: str) -> str:
    if not value.endswith(".py") and value in names():
        return str(FOLDER / f"{value}.py")
    if not Path(value).is_file():
        raise UserError(f"--config={value}: neither a config of eigensweep ({', '.join(names())}) nor a file")
    return value


def checkpoint_of(flag: str | None, config: Any) -> str:
    """The checkpoint that `--checkpoint` names, else the config's.

    Raises:
      UserError: neither names one.
    """
    if source := flag or config.checkpoint:
        return source
    raise UserError("no checkpoint: give --checkpoint=PATH_OR_HUB_ID, or a --config that names one")


def parse_words(text: str) -> tuple[str, ...]:
    """ "query, key" -> ("query", "key"); "" -> ()."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def parse_numbers(key: str, text: str) -> tuple[int, ...]:
    """ "0-3,7" -> (0, 1, 2, 3, 7), each number once; "" -> ().

    Raises:
      UserError: the config's `key` is not of that form.
    """
    numbers: list[int] = []
    for word in parse_words(str(text)):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        wanted = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
        if not 0 < len(wanted) <= MOST_NUMBERS:
            raise UserError(f"config: {key} is {text!r}; expected numbers and ranges such as 0-3,7")
        numbers += wanted
    return tuple(dict.fromkeys(numbers))


def check_values(
    config: Any, least: Mapping[str, int], words: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> None:
    """Raise UserError for a number of the config below its least value, or a word that is none of the allowed ones."""
    for key, lowest in least.items():
        if config[key] < lowest:
            raise UserError(f"config: {key} is {config[key]}; expected at least {lowest}")
    for key, allowed in words.items():
        if config[key] not in allowed:
            names = ", ".join(word or '""' for word in allowed)
            raise UserError(f"config: {key} is {config[key]!r}; expected one of {names}")


def expand_argv() -> None:
    """`expand_names` on the process's own arguments, before absl reads them; exits with status 2 on an unknown one."""
    try:
        sys.argv = expand_names(sys.argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
