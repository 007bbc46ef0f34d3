"""Classification: BoolQ, word-in-context (WiC), and any JSON lines with texts and labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigensweep.models.data.errors import DataError
from eigensweep.models.data.text import field, read_jsonl

TRUTH = ("false", "true")


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

    return _read(path, texts, "label", TRUTH)


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

    return _read(path, texts, label, labels)


def _read(
    path: str | Path,
    texts: Callable[[dict[str, Any], str], tuple[str, str | None]],
    label: str,
    labels: Sequence[str],
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
