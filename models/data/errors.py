"""The one exception for text, labels and tokenizers that cannot be used."""

import textwrap

from eigensweep.models.errors import InputError


class DataError(InputError, ValueError):
    """Bad input from outside; the message names the file, and the line where there is one."""


def one_line(error: BaseException) -> str:
    """An exception's message on one line, cut where it is long, or its type where it has none."""
    return textwrap.shorten(str(error), 400, placeholder=" …") or type(error).__name__
