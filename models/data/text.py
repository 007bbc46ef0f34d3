"""Texts and labelled examples from files: plain text, WikiText, JSON lines, BoolQ, WiC; and data sets of the hub."""

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eigensweep.models.errors import InputError, printable

OLDEST_DATASETS = 4
HUB = "hub:"
"""Before the name of a data set of the hub, where rows are read."""
TRUTH = ("false", "true")
"""The labels of BoolQ and WiC."""


class DataError(InputError, ValueError):
    """Bad input from outside; the message names the file, and the line where there is one."""


def one_line(error: BaseException) -> str:
    """An exception's message on one line, cut where it is long, or its type where it has none."""
    return printable(textwrap.shorten(str(error), 400, placeholder=" …")) or type(error).__name__


def read_text(path: str | Path) -> str:
    """A UTF-8 file as it is, line ends included.

    Raises:
      DataError: absent, unreadable, not UTF-8, or blank.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error
    if not text.strip():
        raise DataError(f"{path}: no text in it")
    return text


def read_wikitext(path: str | Path) -> str:
    """WikiText as transformers' perplexity guide joins it: its lines, blank ones emptied, with two newlines between.

    Raises:
      DataError: see `read_text`.
    """
    lines = read_text(path).splitlines(keepends=True)
    return "\n\n".join(line if line.strip() else "" for line in lines)


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of every line that is not blank; or of every row of a data set of the hub.

    Args:
      path: a file, or hub:NAME, hub:NAME:SPLIT, hub:NAME:CONFIGURATION:SPLIT.

    Raises:
      DataError: naming file:line, where a line is not a JSON object; naming the file, where there is none; see
        `read_hub`.
    """
    if str(path).startswith(HUB):
        rows = _hub_rows(*hub_address(str(path).removeprefix(HUB)))
        if not len(rows):
            raise DataError(f"{path}: no rows in it")
        yield from enumerate(rows, start=1)
        return
    number, found = 0, False
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON: {error.msg} (column {error.colno})") from error
        except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
            raise DataError(f"{path}:{number}: JSON that cannot be read: {one_line(error)}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, got {type(row).__name__}")
        found = True
        yield number, row
    if not found:
        raise DataError(f"{path}: no rows in it")


def field(row: dict[str, Any], name: str, where: str) -> str:
    """A row's text.

    Raises:
      DataError: absent or no text; names the place and the fields there are.
    """
    value = row.get(name)
    if not isinstance(value, str):
        raise DataError(f"{where}: no text in field {name!r}; the fields are {', '.join(row)}")
    return value


def read_jsonl_text(path: str | Path, name: str = "text", separator: str = "\n\n") -> str:
    """One field of every row, joined.

    Raises:
      DataError: as `read_jsonl`, or a row without that field.
    """
    return separator.join(field(row, name, f"{path}:{number}") for number, row in read_jsonl(path))


def read_hub(dataset: str, name: str | None = None, split: str = "test", column: str = "text") -> str:
    """One column of a data set of the hub, joined by two newlines, through the library `datasets`.

    Raises:
      DataError: `datasets` is not installed or older than version 4, or the data set, split or column is not there.
    """
    rows = _hub_rows(dataset, name, split)
    if column not in rows.column_names:
        raise DataError(f"{dataset}: no column {column!r}; there are {', '.join(rows.column_names)}")
    values = list(rows[column])
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"{dataset}: the column {column!r} holds something else than text")
    return "\n\n".join(values)


def hub_address(text: str) -> tuple[str, str | None, str]:
    """Data set, configuration and split.

    >>> hub_address("wikitext:wikitext-2-raw-v1:test"), hub_address("google/boolq:train"), hub_address("imdb")
    (('wikitext', 'wikitext-2-raw-v1', 'test'), ('google/boolq', None, 'train'), ('imdb', None, 'test'))
    """
    name, *rest = text.split(":")
    split = rest.pop() if rest else "test"
    return name, rest[0] if rest else None, split


def _hub_rows(dataset: str, name: str | None, split: str) -> Any:
    """The rows of one split, as the library `datasets` gives them: a sequence of dicts with `column_names`."""
    try:
        from datasets import __version__, load_dataset
    except ImportError as error:
        raise DataError(f"{dataset}: data sets of the hub need the library: pip install datasets") from error
    if int(__version__.partition(".")[0]) < OLDEST_DATASETS:  # they run a data set's script where they are let
        raise DataError(
            f"{dataset}: data sets of the hub are read with datasets {OLDEST_DATASETS} or newer, which runs no code of "
            f"theirs; installed is {__version__}: pip install -U datasets"
        )
    try:
        return load_dataset(dataset, name, split=split)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: data sets that are scripts
        raise DataError(f"{dataset}: {one_line(error)}") from error


@dataclass(frozen=True)
class Example:
    """A text, or a pair of them, and its class: `label` indexes the task's labels."""

    text: str
    pair: str | None
    label: int


def read_boolq(path: str | Path) -> list[Example]:
    """SuperGLUE BoolQ, JSON lines: (question, passage), labels "false" and "true".

    Raises:
      DataError: naming file and line, see `read_labelled`.
    """
    return read_labelled(path, text="question", pair="passage", labels=TRUTH)


def read_wic(path: str | Path) -> list[Example]:
    """SuperGLUE WiC, JSON lines: does the word mean the same in both sentences?

    The pair is ("word: sentence1", "sentence2"), so that the model is told which word is asked about.

    Raises:
      DataError: naming file and line, see `read_labelled`.
    """

    def texts(row: dict[str, Any], where: str) -> tuple[str, str]:
        word, *sentences = (field(row, name, where) for name in ("word", "sentence1", "sentence2"))
        return f"{word}: {sentences[0]}", sentences[1]

    return _examples(path, texts, "label", TRUTH)


def read_labelled(
    path: str | Path, text: str, pair: str | None, labels: Sequence[str], label: str = "label"
) -> list[Example]:
    """JSON lines with one or two texts and a label a row.

    Args:
      path: the file.
      text, pair: the fields with the texts; pair may be None.
      labels: the classes, in the order of the classifier's outputs. JSON's true and 1 are "true" and "1".
      label: the field with the label.

    Raises:
      DataError: naming file and line: a malformed row, a missing field, a label that is none of `labels`; or naming
        the file, where a label of `labels` never occurs.
    """

    def texts(row: dict[str, Any], where: str) -> tuple[str, str | None]:
        return field(row, text, where), None if pair is None else field(row, pair, where)

    return _examples(path, texts, label, labels)


def _examples(
    path: str | Path, texts: Callable[[dict[str, Any], str], tuple[str, str | None]], label: str, labels: Sequence[str]
) -> list[Example]:
    examples = []
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        if row.get(label) is None:
            raise DataError(f"{where}: no label in field {label!r}; the fields are {', '.join(row)}")
        value = str(row[label]).lower() if isinstance(row[label], bool) else str(row[label])
        if value not in labels:
            raise DataError(f"{where}: label {value!r} is none of {', '.join(labels)}")
        examples.append(Example(*texts(row, where), labels.index(value)))
    absent = sorted(set(range(len(labels))) - {example.label for example in examples})
    if absent:
        raise DataError(f"{path}: no row has the label {', '.join(labels[i] for i in absent)}")
    return examples


def matched(examples: Sequence[Example]) -> list[Example]:
    """Does the pair belong together? Every other text keeps its pair (1), the rest gets its neighbour's (0)."""
    shifted = [*examples[-1:], *examples[:-1]]
    return [
        replace(example, label=1) if i % 2 else replace(example, pair=other.pair, label=0)
        for i, (example, other) in enumerate(zip(examples, shifted, strict=True))
    ]
