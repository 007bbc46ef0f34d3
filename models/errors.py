"""Bad input from outside: what entry points tell in one line, with exit status 2."""

from collections.abc import Sequence


def listed(items: Sequence[str], most: int = 8) -> str:
    """The first few of a list, on one line.

    >>> listed(["a", "b", "c"], most=2)
    'a; b; and 1 more'
    """
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return "; ".join([*items[:most], *more])


class InputError(Exception):
    """Something from outside the program is unusable; the message alone tells the user what and where."""


class CheckpointError(InputError, ValueError):
    """A checkpoint is unusable; the message names the file and, where there is one, the tensor."""
