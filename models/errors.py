"""Bad input from outside: what entry points tell in one line, with exit status 2."""

from collections.abc import Sequence
from typing import Any

_LONGEST = 200  # characters that a message shows of a value from a file


def listed(items: Sequence[str], most: int = 8) -> str:
    """The first few of a list, on one line.

    >>> listed(["a", "b", "c"], most=2)
    'a; b; and 1 more'
    """
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return "; ".join([*items[:most], *more])


def printable(text: str) -> str:
    r"""A text from a file, safe for terminals, logs and UTF-8: what is not printable is escaped as in Python's source.

    That is control characters (line ends and terminal escape codes among them), lone surrogates, and characters that
    are invisible or turn the direction of writing. All others stay; done twice, nothing changes.

    >>> printable("a\x1b[31m\ud800")
    'a\\x1b[31m\\ud800'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: Any) -> str:
    """A value from a file as a message shows it: as Python writes it, cut where it is long."""
    text = printable(repr(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


class InputError(Exception):
    """Something from outside the program is unusable; the message alone tells the user what and where."""


class CheckpointError(InputError, ValueError):
    """A checkpoint is unusable; the message names the file and, where there is one, the tensor."""
