"""A converted checkpoint, read: the leaves that Orbax holds, and `eigensweep.json` beside them.

The notes say where the pytree came from, which matrices it has under the source's names, and the sum of every leaf,
which is checked when the leaf is read. So the source's hash stands for the leaves' bits.
"""

import dataclasses
import functools
import hashlib
import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.families.rules import Layout
from eigensweep.models.matrix import Cut, Matrix, Skipped, Tensor
from eigensweep.models.plan import Leaf, Plan
from eigensweep.models.sources import Source, files_sha256
from eigensweep.models.sources.files import read_json
from eigensweep.models.sources.watch import Watch

NOTES, FORMAT = "eigensweep.json", 1
"""The file with what the pytree alone does not tell, and the version of its layout."""

_UNSUMMED = "its hash is that of its own files, and differs from the source's; convert anew for a checked copy"
_CHUNK_BYTES = 1 << 28
_LARGEST = 1 << 48


@dataclasses.dataclass(frozen=True)
class _Stored:
    """A leaf as the notes say it lies in the folder; `checked` is filled once its sum has been seen to be right."""

    folder: Path
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    sha256: str
    checked: list[bool] = dataclasses.field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _read_rows(leaf: _Stored, start: int, stop: int) -> np.ndarray:
    import tensorstore

    if 0 in leaf.shape:  # Orbax stores no empty arrays
        return np.zeros((stop - start, *leaf.shape[1:]), leaf.dtype)
    # What Orbax writes: one zarr array a leaf, its keys joined by dots, in one OCDBT database.
    base = {"driver": "file", "path": f"{leaf.folder}/"}
    kvstore = {"driver": "ocdbt", "base": base, "path": leaf.path.replace("/", ".") + "/"}
    try:
        array = tensorstore.open({"driver": "zarr", "kvstore": kvstore}, open=True, read=True).result()
        if (array.shape, array.dtype.numpy_dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(
                f"it is {array.dtype.name} {list(array.shape)}, {NOTES} says {leaf.dtype.name} {list(leaf.shape)}"
            )
        return (array[start:stop] if array.rank else array).read().result()
    except (ValueError, OSError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise CheckpointError(f"{leaf.folder}: leaf {leaf.path} cannot be read: {reason}") from e


def _read_checked(leaf: _Stored, start: int, stop: int) -> np.ndarray:
    """Rows of a leaf whose bits are those that were written: all of it is summed before a part is believed."""
    count = leaf.shape[0] if leaf.shape else 1
    whole = (start, stop) == (0, count)
    if not leaf.sha256 or (leaf.checked and not whole):
        return _read_rows(leaf, start, stop)
    if whole:
        array = _read_rows(leaf, start, stop)
        found = leaf_sha256(array)
    else:
        total, rows = hashlib.sha256(), max(1, _CHUNK_BYTES // max(1, leaf.nbytes // count))
        for begin in range(0, count, rows):
            total.update(_bytes(_read_rows(leaf, begin, min(begin + rows, count))))
        found = total.hexdigest()
    if found != leaf.sha256:
        raise CheckpointError(
            f"{leaf.folder}: leaf {leaf.path} is damaged: its sum is not the one in {NOTES}; convert the source again"
        )
    leaf.checked.append(True)
    return array if whole else _read_rows(leaf, start, stop)


def leaf_sha256(array: np.ndarray) -> str:
    """The sum of a leaf: over its bytes, C order."""
    return hashlib.sha256(_bytes(array)).hexdigest()


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def write_notes(folder: Path, notes: dict[str, Any]) -> None:
    """Writes what lies beside the leaves, with a sum of its own."""
    text = json.dumps(notes | {"sha256": _sum_of_notes(json.loads(json.dumps(notes)))}, indent=1)
    (folder / NOTES).write_text(text, encoding="utf-8")


def _sum_of_notes(notes: dict[str, Any]) -> str:
    said = {key: value for key, value in notes.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read_notes(folder: Path) -> dict[str, Any]:
    """The notes of a converted checkpoint, their outline and their sum checked.

    Raises:
      CheckpointError: not JSON, of another version, without one of its entries, or damaged.
    """
    notes = read_json(folder / NOTES)
    if notes.get("format") != FORMAT:
        raise CheckpointError(f"{folder / NOTES}: format {notes.get('format')!r}, this version reads {FORMAT}")
    kinds = {"identity": dict, "leaves": dict, "matrices": list, "skipped": list, "warnings": list}
    for key, kind in kinds.items():
        if not isinstance(notes.get(key), kind):
            raise CheckpointError(f"{folder / NOTES}: has no usable {key!r}")
    if not isinstance(notes.get("config"), dict | None):
        raise CheckpointError(f"{folder / NOTES}: has no usable 'config'")
    if "sha256" in notes and notes["sha256"] != _sum_of_notes(notes):
        raise CheckpointError(f"{folder / NOTES}: is damaged: it is not as eigensweep-convert wrote it")
    return notes


def open_orbax(folder: Path, name: str) -> Source:
    """A converted checkpoint as a source: its tensors are the leaves, by path.

    Its content hash is the source's, which the conversion noted, where it noted the leaves' sums as well: they are the
    same bits, or cannot be read. Conversions before version 0.3 have no sums; their hash is that of their own files.
    """
    watch = Watch()
    notes = read_notes(watch.add(folder / NOTES).parent)
    paths = {str(p.relative_to(folder)): watch.add(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    summed = "sha256" in notes
    try:
        tensors = {}
        for path, entry in notes["leaves"].items():
            sha256 = str(entry["sha256"]) if summed else ""
            leaf = _Stored(folder, path, _shape(entry["shape"]), _dtype(entry["dtype"]), sha256)
            tensor = Tensor(path, leaf.shape, leaf.dtype.name, path, functools.partial(_read_checked, leaf))
            tensors[path] = watch.tensor(tensor, *paths.values())
        of_source = str(notes["identity"]["sha256"])
    except (KeyError, TypeError, ValueError) as e:
        raise CheckpointError(f"{folder / NOTES}: not as eigensweep-convert writes it: {e!r}") from e
    said = () if summed else (f"{folder / NOTES}: has no sums of the leaves (of a version before 0.3): {_UNSUMMED}",)
    hashed = (lambda: of_source) if summed else watch.hashed(functools.partial(files_sha256, paths))
    sizes = {file: path.stat().st_size for file, path in paths.items()}
    return Source(name, "orbax", tensors, notes.get("config"), sizes, hashed, {}, said, folder, notes)


def _shape(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, list) or not all(type(size) is int and 0 <= size < _LARGEST for size in sizes):
        raise ValueError("a shape is no list of sizes")
    return tuple(sizes)


def _dtype(name: Any) -> np.dtype:
    dtype = np.dtype(name)
    if not isinstance(name, str) or dtype.hasobject or dtype.kind in "SU":
        raise ValueError("a dtype is none of numbers")
    return dtype


def _matrix(source: Source, entry: dict[str, Any]) -> Matrix:
    tensor = source.tensors[entry["path"]]
    layout = entry.get("layout", "embedding" if entry["transposed"] else "linear")
    if layout not in get_args(Layout):
        raise ValueError(f"{entry['name']} is said to lie as {layout!r}")
    rows = _shape(entry["rows"]) if "rows" in entry else None
    if rows is not None and (len(rows) != 2 or not rows[0] < rows[1] <= tensor.shape[0]):
        raise ValueError("a matrix is no share of its leaf")
    cut = Cut(tensor, layout, entry["index"], rows)
    fields = {key: value for key, value in entry.items() if key not in ("layout", "rows")}
    fields |= {"shape": tuple(entry["shape"]), "tied": tuple(entry["tied"])}
    matrix = Matrix(**fields, dtype=tensor.dtype, file=tensor.file, reader=cut.read_matrix)
    if matrix.shape != cut.matrix_shape:
        raise ValueError(f"{matrix.name} is said to be {list(matrix.shape)}, its leaf holds {list(cut.matrix_shape)}")
    return matrix


def plan_converted(source: Source) -> Plan:
    """The plan that the source of the conversion had, over the converted leaves.

    Raises:
      CheckpointError: notes that contradict themselves.
    """
    notes = source.notes or {}
    try:
        matrices = tuple(_matrix(source, entry) for entry in notes["matrices"])
        skipped = tuple(Skipped(**{**entry, "shape": tuple(entry["shape"])}) for entry in notes["skipped"])
    except (KeyError, TypeError, ValueError) as e:
        raise CheckpointError(f"{source.name}/{NOTES}: not as eigensweep-convert writes it: {e}") from e
    leaves = tuple(Leaf(path, tensor.shape, tensor) for path, tensor in source.tensors.items())
    return Plan(matrices, skipped, leaves, warnings=tuple(map(str, notes["warnings"])))
