"""Whether what lies in a run directory is what a study wrote: its manifest's outline, its tables' columns and sums.

Manifests and tables since version 0.3 carry sums of the tables; of older ones the columns' types and keys must do.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eigensweep.engine.tables.columns import COUNT, FLOAT, INDICES, LIST, TEXT, TEXTS, TRUTH, Columns
from eigensweep.engine.tables.errors import RunError

SUMS = "tables"
"""The key of the tables' SHA-256 by file in a manifest."""
_TEXT, _NUMBER, _LIST = (str,), (int, float), (list,)
_OUTLINE: dict[str, tuple[type, ...]] = {
    "study": _TEXT, "status": _TEXT, "eigensweep": _TEXT, "checkpoint": (dict,), "options": (dict,), "timings": (dict,),
    "versions": (dict,), "identity": (dict,), "data": (dict,), "majority": (dict,), "evaluation": (dict,),
    "warnings": _LIST, "skipped": _LIST, "devices": _LIST, "joins": _LIST, "without_activations": _LIST, SUMS: (dict,),
}  # fmt: skip
_INSIDE: dict[str, dict[str, tuple[type, ...]]] = {
    "checkpoint": {"source": _TEXT, "kind": _TEXT, "architecture": _TEXT, "sha256": _TEXT, "files": (dict,)},
    "majority": {"loss": _NUMBER, "accuracy": _NUMBER},
}
LEFT_OUT = ("name", "shape", "dtype", "reason")
"""What a manifest says of a tensor that is left out."""
_ENTRIES: dict[str, tuple[type, ...]] = {
    "warnings": _TEXT, "skipped": (dict,), "devices": _TEXT, "joins": _TEXT, "without_activations": _TEXT,
}  # fmt: skip


KEYS = {"matrices": ("name",), "spectra": ("name",)}
"""What tells rows apart in the tables of decomposed matrices."""
NEEDED = {"matrices": ("role", "m", "n", "dtype", "status")}
"""What every version wrote there, without nulls."""
LISTS = ("singular_values", "p_right", "p_left", "p_right_avg", "p_left_avg")
"""What every version wrote of a spectrum, as far as the study has it: an entry a singular value."""


def check_manifest(path: Path, manifest: Mapping[str, Any], needed: Iterable[str] = ()) -> None:
    """Hold the keys that are there against what they hold in every manifest.

    Raises:
      RunError: a key with a value of another kind, or one of those needed is missing.
    """
    if missing := [key for key in needed if key not in manifest]:
        raise RunError(f"{path}: is damaged: it has no {missing[0]!r}")
    _check_kinds(path, manifest, _OUTLINE)
    for key, kinds in _INSIDE.items():
        _check_kinds(path, manifest.get(key, {}), kinds, f"{key}.")
    for entry in manifest.get("skipped", ()):
        if isinstance(entry, dict) and (missing := [key for key in LEFT_OUT if key not in entry]):
            raise RunError(f"{path}: is damaged: an entry of skipped has no {missing[0]!r}")
    for key, kind in _ENTRIES.items():
        for entry in manifest.get(key, ()):
            if not isinstance(entry, kind):
                raise RunError(f"{path}: is damaged: an entry of {key} is {_kind(entry)}, expected {_named(kind)}")


def _check_kinds(path: Path, there: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], where: str = "") -> None:
    for key, kind in kinds.items():
        value = there.get(key)
        wrong = isinstance(value, bool) or not isinstance(value, kind)
        if key in there and wrong and not (value is None and where):  # a source without hash, or a number unknown
            raise RunError(f"{path}: is damaged: {where}{key} is {_kind(value)}, expected {_named(kind)}")


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a truth value"}.get(
        type(value), "a number"
    )


def _named(kind: tuple[type, ...]) -> str:
    return _kind(kind[0]())


def file_sum(data: bytes) -> str:
    """What a manifest says of a table's file."""
    return hashlib.sha256(data).hexdigest()


def check_sum(path: Path, data: bytes, manifest: Mapping[str, Any]) -> None:
    """Hold a table's bytes against the manifest that belongs to it; manifests before version 0.3 have no sums.

    Raises:
      RunError: it is another file.
    """
    known = manifest.get(SUMS, {})
    if known and known.get(path.name) != file_sum(data):
        raise RunError(f"{path}: is damaged, or of another run: it is not the table that the manifest beside it sums")


def check_table(
    path: Path, table: pa.Table, columns: Columns, keys: Iterable[str], needed: Iterable[str], empty: bool = False
) -> None:
    """Hold a table's columns against their declaration; those that a newer version added may be missing.

    Args:
      path: of its file, for messages.
      keys: columns which together tell a row from every other.
      needed: columns that every version has, without nulls; the keys are.
      empty: whether it may have no rows.

    Raises:
      RunError: a column is missing, of another type, null where it must not be, or there is a row twice.
    """
    if len(set(table.column_names)) != len(table.column_names):
        raise RunError(f"{path}: is damaged: it has two columns of one name")
    keys = tuple(keys)
    for name in (*keys, *needed):
        if name not in table.column_names:
            raise RunError(f"{path}: is damaged: it has no column {name!r}")
        if table[name].null_count:
            raise RunError(f"{path}: is damaged: column {name!r} has nulls")
    for name in table.column_names:
        if name in columns and not _serves(table.schema.field(name).type, columns[name].dtype):
            found = table.schema.field(name).type
            raise RunError(f"{path}: is damaged: column {name!r} holds {found}, expected {columns[name].dtype}")
    if keys and not table.num_rows and not empty:
        raise RunError(f"{path}: is damaged: it has no rows")
    if keys and table.group_by(list(keys)).aggregate([]).num_rows != table.num_rows:
        raise RunError(f"{path}: is damaged: two rows have the same {', '.join(keys)}")


def check_same_rows(path: Path, table: pa.Table, other: pa.Table, keys: Iterable[str]) -> None:
    """A table must have the rows of another, told apart by these columns, in whatever order.

    Raises:
      RunError: it has not.
    """
    mine, theirs = ({tuple(row.values()) for row in t.select(list(keys)).to_pylist()} for t in (table, other))
    if mine != theirs:
        lacking = sorted(map(str, theirs - mine)) or sorted(map(str, mine - theirs))
        raise RunError(f"{path}: is damaged: its rows are not those of the table beside it ({lacking[0]})")


def check_lengths(path: Path, table: pa.Table, columns: Iterable[str], lengths: Sequence[int | None]) -> None:
    """The lists of every row must have as many entries as `lengths` says; None for any number.

    Raises:
      RunError: one has not.
    """
    for name in columns:
        if name not in table.column_names:
            raise RunError(f"{path}: is damaged: it has no column {name!r}")
        found = pc.list_value_length(table[name]).to_pylist()
        if any(want is not None and length != want for length, want in zip(found, lengths, strict=True)):
            raise RunError(f"{path}: is damaged: a list of column {name!r} has another length than its row says")


def smaller_sides(path: Path, table: pa.Table) -> list[int]:
    """min(m, n) of every row.

    Raises:
      RunError: a side is negative.
    """
    sides = [min(row.values()) for row in table.select(["m", "n"]).to_pylist()]
    if min(sides, default=0) < 0:
        raise RunError(f"{path}: is damaged: a matrix has {min(sides)} rows or columns")
    return sides


def _serves(found: pa.DataType, declared: str) -> bool:
    types = pa.types
    if types.is_null(found):
        return True
    inside = {LIST: FLOAT, INDICES: COUNT, TEXTS: TEXT}
    if declared in inside:
        return (types.is_list(found) or types.is_large_list(found)) and _serves(found.value_type, inside[declared])
    kinds = {
        COUNT: types.is_integer,
        FLOAT: lambda t: types.is_floating(t) or types.is_integer(t),
        TEXT: lambda t: types.is_string(t) or types.is_large_string(t),
        TRUTH: types.is_boolean,
    }
    return bool(kinds[declared](found))
