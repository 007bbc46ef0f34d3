"""The one exception for text, labels and tokenizers that cannot be used."""

from eigensweep.models.errors import InputError


class DataError(InputError, ValueError):
    """Bad input from outside; the message names the file, and the line where there is one."""


def first_line(error: BaseException) -> str:
    """An exception's message, its first line, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
