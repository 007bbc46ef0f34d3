"""Texts: plain files, JSON lines, WikiText in its tokenised form, and data sets of the hub."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eigensweep.models.data.errors import DataError, one_line


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
    """(line number from 1, object) of every line that is not blank.

    Raises:
      DataError: naming file:line, where a line is not a JSON object; naming the file, where there is none.
    """
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
      DataError: `datasets` is not installed, or the data set, split or column is not there.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(f"{dataset}: data sets of the hub need the library: pip install datasets") from error
    try:
        rows = load_dataset(dataset, name, split=split)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: data sets that are scripts
        raise DataError(f"{dataset}: {one_line(error)}") from error
    if column not in rows.column_names:
        raise DataError(f"{dataset}: no column {column!r}; there are {', '.join(rows.column_names)}")
    values = list(rows[column])
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"{dataset}: the column {column!r} holds something else than text")
    return "\n\n".join(values)
