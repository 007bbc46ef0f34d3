"""Labels by hand: the files that the page exports, JSON or CSV, read as what they are: from outside."""

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigensweep.engine.studies.labels.parsing import LONGEST_LABEL
from eigensweep.engine.tables.errors import RunError
from eigensweep.models.errors import printable, shown

FORMAT = "eigensweep labels 1"
MOST_BYTES = 64 << 20
LONGEST_NAME = 60
Key = tuple[str, int, str, int]
"""circuit, index, side, sign"""
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True)
class Mark:
    """What a person says of a list: whether its tokens share something, and what."""

    shared: bool
    label: str | None


@dataclass(frozen=True)
class Marks:
    """What one person says."""

    person: str
    marks: Mapping[Key, Mark]


def read_marks(path: Path, of: str, known: Collection[Key]) -> Marks:
    """A file of labels by hand.

    Args:
      path: of the file, JSON or CSV by its ending.
      of: the sum of the directions that the labels must be of.
      known: the lists that there are.

    Raises:
      RunError: it cannot be read, is no such file, is of other directions, or holds a list that is not there.
    """
    content = _content(path)
    if content["of"] != of:
        raise RunError(f"{path}: these labels are of the directions of another run")
    person = content["person"]
    if not isinstance(person, str) or not person.strip() or len(person) > LONGEST_NAME or not person.isprintable():
        raise RunError(f"{path}: person is {shown(person)}; expected a name of at most {LONGEST_NAME} characters")
    marks: dict[Key, Mark] = {}
    for number, entry in enumerate(content["labels"], 1):
        key, mark = _mark(f"{path}: label {number}", entry)
        if key not in known:
            raise RunError(
                f"{path}: label {number}: the run has no {shown(entry['direction'])} with this side and sign"
            )
        if key in marks:
            raise RunError(f"{path}: label {number}: {shown(entry['direction'])} is there twice")
        marks[key] = mark
    return Marks(person.strip(), marks)


def _content(path: Path) -> dict[str, Any]:
    """`of`, `person` and `labels`, of either format."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise RunError(f"{path}: is larger than {MOST_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: cannot be read: it is no UTF-8") from error
    if path.suffix.lower() == ".csv":
        return _of_csv(path, text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("labels"), list):
        raise RunError(f"{path}: no labels by hand as the page exports them (format {FORMAT!r})")
    return {"of": content.get("of"), "person": content.get("person"), "labels": content["labels"]}


def _of_csv(path: Path, text: str) -> dict[str, Any]:
    wanted = ["of", "person", "direction", "side", "sign", "shared", "label"]
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    if not rows or [*rows[0]] != wanted:
        raise RunError(f"{path}: no labels by hand as the page exports them (columns {', '.join(wanted)})")
    whole = {(row["of"], row["person"]) for row in rows}
    if len(whole) > 1:
        raise RunError(f"{path}: labels of several persons or runs; expected one of each")
    return {"of": rows[0]["of"], "person": rows[0]["person"], "labels": [*_typed(rows)]}


def _typed(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        sign = {"1": 1, "-1": -1}.get(row["sign"] or "", row["sign"])
        shared = _TRUTH.get((row["shared"] or "").lower(), row["shared"])
        yield row | {"sign": sign, "shared": shared, "label": row["label"] or None}


def _mark(where: str, entry: Any) -> tuple[Key, Mark]:
    kinds = {"direction": str, "side": str, "sign": int, "shared": bool}
    if not isinstance(entry, dict):
        raise RunError(f"{where}: is {shown(entry)}, expected an object")
    for name, kind in kinds.items():
        value = entry.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise RunError(f"{where}: {name} is {shown(value)}, expected {kind.__name__}")
    label = entry.get("label")
    if label is not None and (not isinstance(label, str) or len(label) > LONGEST_LABEL):
        raise RunError(f"{where}: label is {shown(label)}, expected a text of at most {LONGEST_LABEL} characters")
    circuit, _, index = entry["direction"].rpartition(":")
    if not (index.isascii() and index.isdigit() and len(index) < 8):
        raise RunError(f"{where}: {shown(entry['direction'])} is no direction, such as block.3.head.2.ov:1")
    text = printable(" ".join((label or "").split())) or None
    return (circuit, int(index), entry["side"], entry["sign"]), Mark(entry["shared"], text)
