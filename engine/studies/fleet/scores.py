"""What is known of models from elsewhere: a CSV file of scores, sizes and dates, keyed by the model."""

import csv
import datetime
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eigensweep.engine.tables.errors import RunError
from eigensweep.models.errors import shown

SIZE = "parameters"
"""The score that every model has: entries of its swept matrices."""
_MOST_BYTES = 50_000_000


def read_scores(
    path: str | Path, directories: Mapping[str, Path]
) -> tuple[dict[str, np.ndarray], frozenset[str], list[str]]:
    """The columns of a CSV file in the order of the models, which of them are dates, and notes.

    Raises:
      RunError: see `scatter`.
    """
    heading, rows = _read_csv(Path(path))
    keys = _keys(directories)
    columns = {name: np.full(len(directories), np.nan) for name in heading[1:]}
    kinds: dict[str, set[str]] = {name: set() for name in columns}
    place_of = {source: i for i, source in enumerate(directories)}
    seen: dict[str, int] = {}
    for line, row in rows:
        if (source := keys.get(row[0].strip())) is None:
            continue
        if source in seen:
            raise RunError(f"{path}:{line}: {shown(row[0])} is the model of line {seen[source]} again")
        seen[source] = line
        for name, cell in zip(columns, row[1:], strict=True):
            value, kind = _value(cell.strip(), f"{path}:{line}: {shown(name)}")
            columns[name][place_of[source]] = value
            kinds[name] |= {kind} - {""}
    if mixed := [name for name, kind in kinds.items() if len(kind) > 1]:
        raise RunError(f"{path}: column {shown(mixed[0])} has both numbers and dates")
    if not seen:
        raise RunError(
            f"{path}: names none of the {len(directories)} models (its first is {shown(rows[0][1][0])}, theirs "
            f"{shown(next(iter(directories)))})"
        )
    without = [source for source in directories if source not in seen]
    others = len(rows) - len(seen)
    notes = [f"{path}: {len(without)} models have no line there, as {without[0]}"] if without else []
    notes += [f"{path}: {others} lines name no model of the fleet"] if others else []
    return columns, frozenset(name for name, kind in kinds.items() if kind == {"date"}), notes


def _keys(directories: Mapping[str, Path]) -> dict[str, str]:
    """What a model may be called -> its checkpoint's name; what would fit several fits none."""
    found: dict[str, set[str]] = {}
    for source, directory in directories.items():
        for key in {source, source.rstrip("/").rpartition("/")[2], directory.name}:
            found.setdefault(key, set()).add(source)
    return {key: next(iter(sources)) for key, sources in found.items() if len(sources) == 1}


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The heading, and every line that is not blank with its number."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RunError(f"{path}: more than {_MOST_BYTES} bytes of scores")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: no scores can be read from it: {error}") from error
    if len(lines) < 2 or len(lines[0][1]) < 2:
        raise RunError(f"{path}: expected a heading and a line a model: its name, then scores, separated by commas")
    heading = [cell.strip() for cell in lines[0][1]]
    if len(set(heading[1:])) != len(heading) - 1 or SIZE in heading[1:] or "" in heading[1:]:
        raise RunError(f"{path}: every score needs a name of its own, other than {SIZE!r}: {', '.join(heading[1:])}")
    for number, row in lines[1:]:
        if len(row) != len(heading):
            raise RunError(f"{path}:{number}: {len(row)} cells, the heading has {len(heading)}")
    return heading, lines[1:]


def _value(cell: str, where: str) -> tuple[float, str]:
    """A cell as a number, and which kind: "number", "date", or "" for an unknown."""
    if not cell:
        return math.nan, ""
    try:
        value = float(cell)
    except ValueError:
        try:
            return float((datetime.date.fromisoformat(cell) - datetime.date(1970, 1, 1)).days), "date"
        except ValueError as error:
            raise RunError(f"{where}: {shown(cell)} is neither a number nor a date as 2024-05-31") from error
    if not math.isfinite(value):
        raise RunError(f"{where}: {shown(cell)} is no finite number; leave unknown scores empty")
    return value, "number"
