"""What a language model answered, read as data: nothing in it is ever believed to be what was asked for."""

import json
from typing import Any

from eigensweep.models.errors import printable, shown

LONGEST = 8000  # characters of an answer that are looked at, and kept
LONGEST_LABEL = 80


class MalformedError(ValueError):
    """An answer that does not answer; the message says in which way."""


def label_of(text: str) -> str | None:
    """The label that an answer gives, printable and on one line; None where it says that the tokens share nothing.

    Raises:
      MalformedError: it is no object with a text or null as "label", or the text is empty or too long.
    """
    found = _entry(text, "label")
    if found is None:
        return None
    if not isinstance(found, str):
        raise MalformedError(f"the label is {shown(found)}, no text")
    label = printable(" ".join(found.split()))
    if not label:
        raise MalformedError("the label is empty")
    if len(label) > LONGEST_LABEL:
        raise MalformedError(f"the label has {len(label)} characters, more than {LONGEST_LABEL}")
    return None if label.lower() in ("null", "none", "nothing") else label


def choice_of(text: str, count: int) -> set[int]:
    """The numbers that an answer chooses of 1 to `count`.

    Raises:
      MalformedError: it is no object with such numbers as "fits".
    """
    found = _entry(text, "fits")
    if not isinstance(found, list) or len(found) > 4 * count:
        raise MalformedError(f"fits is {shown(found)}, no list of numbers")
    if wrong := [x for x in found if not isinstance(x, int) or isinstance(x, bool) or not 1 <= x <= count]:
        raise MalformedError(f"fits holds {shown(wrong[0])}, no number from 1 to {count}")
    return set(found)


def _entry(text: str, key: str) -> Any:
    """The value of `key` in the first JSON object of a text, which models like to wrap in words or a code block."""
    start = text.find("{")
    if start < 0:
        raise MalformedError(f"no JSON object: {shown(text)}")
    try:
        found, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(text[start:LONGEST])
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"no JSON object: {shown(text)}") from error
    if key not in found:
        raise MalformedError(f"no {key!r} in the answer: {shown(text)}")
    return found[key]


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
