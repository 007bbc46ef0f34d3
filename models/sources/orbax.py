"""A Flax pytree that eigensweep-convert wrote: read leaf by leaf, under the names of the checkpoint it came from."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.folder import read_json
from eigensweep.models.sources.source import Source
from eigensweep.models.tensors import Tensor

NOTES, FORMAT = "eigensweep.json", 1
"""The file beside Orbax's own that names the source, its config and its matrices, and the version of its layout."""


def _read_rows(
    folder: Path, path: str, shape: tuple[int, ...], dtype: np.dtype, start: int, stop: int
) -> np.ndarray:
    import tensorstore

    if 0 in shape:  # Orbax stores no empty arrays
        return np.zeros((stop - start, *shape[1:]), dtype)
    # What Orbax writes: one zarr array a leaf, its keys joined by dots, in one OCDBT database.
    base = {"driver": "file", "path": f"{folder}/"}
    kvstore = {"driver": "ocdbt", "base": base, "path": path.replace("/", ".") + "/"}
    try:
        array = tensorstore.open({"driver": "zarr", "kvstore": kvstore}, open=True, read=True).result()
        if (array.shape, array.dtype.numpy_dtype) != (shape, dtype):
            raise ValueError(
                f"it is {array.dtype.name} {list(array.shape)}, {NOTES} says {dtype.name} {list(shape)}"
            )
        return (array[start:stop] if array.rank else array).read().result()
    except (ValueError, OSError) as e:
        raise CheckpointError(f"{folder}: leaf {path} cannot be read: {str(e).splitlines()[0]}") from e


def _tensor(folder: Path, path: str, shape: tuple[int, ...], dtype: np.dtype) -> Tensor:
    return Tensor(path, shape, dtype.name, path, functools.partial(_read_rows, folder, path, shape, dtype))


def read_notes(folder: Path) -> dict[str, Any]:
    """The notes of a converted checkpoint, their outline checked.

    Raises:
      CheckpointError: not JSON, of another version, or without one of its entries.
    """
    notes = read_json(folder / NOTES)
    if notes.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder / NOTES}: format {notes.get('format')!r}, this version reads {FORMAT}"
        )
    kinds = {"identity": dict, "leaves": dict, "matrices": list, "skipped": list, "warnings": list}
    for key, kind in kinds.items():
        if not isinstance(notes.get(key), kind):
            raise CheckpointError(f"{folder / NOTES}: has no usable {key!r}")
    return notes


def open_orbax(folder: Path, name: str) -> Source:
    """A converted checkpoint as a source: its tensors are the leaves, by path.

    Its content hash is the source's, which the conversion noted: the leaves are the same bits.
    """
    notes = read_notes(folder)
    try:
        tensors = {
            path: _tensor(folder, path, tuple(leaf["shape"]), np.dtype(leaf["dtype"]))
            for path, leaf in notes["leaves"].items()
        }
        sha256 = str(notes["identity"]["sha256"])
    except (KeyError, TypeError) as e:
        raise CheckpointError(f"{folder / NOTES}: not as eigensweep-convert writes it: {e!r}") from e
    files = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    return Source(
        name, "orbax", tensors, notes.get("config"), files, lambda: sha256, directory=folder, notes=notes
    )
