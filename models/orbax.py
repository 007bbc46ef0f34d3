"""A checkpoint as a Flax pytree in Orbax, written and read: a few tensors in memory at a time, whole or not at all.

Beside Orbax's own files lies `eigensweep.json`: where the pytree came from, and its matrices under the source's names.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.families.rules import Layout
from eigensweep.models.matrix import Cut, Matrix, Skipped, Tensor
from eigensweep.models.params import checked_leaves, nest
from eigensweep.models.plan import Leaf, Plan
from eigensweep.models.sources import Source
from eigensweep.models.sources.folder import read_json
from eigensweep.models.staging import runs, staged

if TYPE_CHECKING:
    from eigensweep.models.checkpoint import Checkpoint

NOTES, FORMAT = "eigensweep.json", 1
"""The file with what the pytree alone does not tell, and the version of its layout."""

_BATCH_BYTES = 1 << 28  # large enough to keep the disk busy, small beside any model


@dataclasses.dataclass(frozen=True)
class Converted:
    """What a conversion wrote."""

    directory: Path
    architecture: str
    num_leaves: int
    num_bytes: int


def convert(checkpoint: "Checkpoint", out: str | Path) -> Converted:
    """Writes a checkpoint as a Flax pytree in Orbax, every leaf bit for bit.

    Orbax restores the folder as nested dicts (`orbax.checkpoint.StandardCheckpointer().restore(out)`), and
    `open_checkpoint(out)` finds the same matrices in it, under the same names, as in the source.

    Args:
      checkpoint: of a known architecture, for the canonical tree; of an unknown one, for its tensors nested by name.
      out: a folder that does not exist, or is empty. It appears when it is complete.

    Raises:
      CheckpointError: mismatches between the checkpoint and its config, all in one message; `out` is occupied or
        cannot be written. Nothing is left behind.
    """
    leaves = list(checked_leaves(checkpoint))
    notes = {
        "identity": checkpoint.identity,
        "config": checkpoint.config,
        "matrices": [matrix_note(matrix) | _layout_note(checkpoint, matrix) for matrix in checkpoint.matrices],
        "skipped": [dataclasses.asdict(skipped) for skipped in checkpoint.skipped],
        "warnings": checkpoint.warnings,
    }
    write_orbax(out, leaves, notes)
    num_bytes = sum(leaf.nbytes for leaf in leaves)
    return Converted(Path(out).expanduser().absolute(), checkpoint.architecture, len(leaves), num_bytes)


def matrix_note(matrix: Matrix) -> dict[str, Any]:
    """What `eigensweep.json` says of a matrix; the rest its leaf tells."""
    fields = {f.name: getattr(matrix, f.name) for f in dataclasses.fields(matrix)}
    return {name: value for name, value in fields.items() if name not in ("reader", "file", "dtype")}


def _layout_note(checkpoint: "Checkpoint", matrix: Matrix) -> dict[str, str]:
    """How a matrix lies in a leaf that is kept as it was stored, where neither W nor its transpose does."""
    cut = checkpoint.plan.cuts.get(matrix.name)
    return {} if cut is None or matrix.transposed or cut.layout == "linear" else {"layout": cut.layout}


def write_orbax(out: str | Path, leaves: list[Leaf], notes: dict[str, Any]) -> None:
    """Writes leaves in Orbax, and the notes that `open_orbax` wants beside them.

    Args:
      out: a folder that does not exist, or is empty. It appears when it is complete.
      leaves: of the pytree.
      notes: identity, config, matrices (see `matrix_note`), skipped and warnings.

    Raises:
      CheckpointError: names of leaves that cannot be nested; `out` is occupied or cannot be written.
    """
    nest({leaf.path: leaf for leaf in leaves})  # refuses before anything is written
    shapes = {leaf.path: {"shape": leaf.shape, "dtype": leaf.dtype} for leaf in leaves}
    with staged(out) as stage:
        try:
            _save(leaves, stage)
        except CheckpointError:
            raise
        except ValueError as e:  # tensorstore's, e.g. of a full disk
            raise CheckpointError(f"{out}: cannot be written: {str(e).splitlines()[0]}") from e
        text = json.dumps({"format": FORMAT, "leaves": shapes, **notes}, indent=1)
        (stage / NOTES).write_text(text, encoding="utf-8")


def _save(leaves: list[Leaf], directory: Path) -> None:
    """Orbax's own saving, but for leaves that are read when it is their turn and forgotten afterwards."""
    import jax
    import orbax.checkpoint as ocp

    class Handler(ocp.type_handlers.NumpyHandler):
        """Reads some leaves, saves them as arrays and waits until they are written before it reads more."""

        async def serialize(self, values, infos, args=None):
            triples = zip(values, infos, args or [ocp.SaveArgs()] * len(values), strict=True)
            for batch in runs(triples, lambda triple: triple[0].nbytes, _BATCH_BYTES):
                chosen, batch_infos, batch_args = zip(*batch, strict=True)
                arrays = [leaf.read() for leaf in chosen]
                for future in await super().serialize(arrays, batch_infos, batch_args):
                    future.result()
            return []

    # There are no jax.Arrays, but Orbax warns where it has no handler for them.
    registry = ocp.type_handlers.create_type_handler_registry(
        (Leaf, Handler(deepcopy_host_arrays=False)), (jax.Array, ocp.type_handlers.ArrayHandler())
    )
    # Orbax refuses empty arrays; the notes have them.
    stored = {leaf.path: leaf for leaf in leaves if leaf.nbytes}
    # OCDBT and zarr 2 are what `_read_rows` reads; said here so that another default changes nothing.
    handler = ocp.PyTreeCheckpointHandler(type_handler_registry=registry, use_ocdbt=True, use_zarr3=False)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(directory, args=ocp.args.PyTreeSave(nest(stored)))


def _read_rows(folder: Path, path: str, shape: tuple[int, ...], dtype: np.dtype, start: int, stop: int) -> np.ndarray:
    import tensorstore

    if 0 in shape:  # Orbax stores no empty arrays
        return np.zeros((stop - start, *shape[1:]), dtype)
    # What Orbax writes: one zarr array a leaf, its keys joined by dots, in one OCDBT database.
    base = {"driver": "file", "path": f"{folder}/"}
    kvstore = {"driver": "ocdbt", "base": base, "path": path.replace("/", ".") + "/"}
    try:
        array = tensorstore.open({"driver": "zarr", "kvstore": kvstore}, open=True, read=True).result()
        if (array.shape, array.dtype.numpy_dtype) != (shape, dtype):
            raise ValueError(f"it is {array.dtype.name} {list(array.shape)}, {NOTES} says {dtype.name} {list(shape)}")
        return (array[start:stop] if array.rank else array).read().result()
    except (ValueError, OSError) as e:
        raise CheckpointError(f"{folder}: leaf {path} cannot be read: {str(e).splitlines()[0]}") from e


def read_notes(folder: Path) -> dict[str, Any]:
    """The notes of a converted checkpoint, their outline checked.

    Raises:
      CheckpointError: not JSON, of another version, or without one of its entries.
    """
    notes = read_json(folder / NOTES)
    if notes.get("format") != FORMAT:
        raise CheckpointError(f"{folder / NOTES}: format {notes.get('format')!r}, this version reads {FORMAT}")
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
        tensors = {}
        for path, leaf in notes["leaves"].items():
            shape, dtype = tuple(leaf["shape"]), np.dtype(leaf["dtype"])
            reader = functools.partial(_read_rows, folder, path, shape, dtype)
            tensors[path] = Tensor(path, shape, dtype.name, path, reader)
        sha256 = str(notes["identity"]["sha256"])
    except (KeyError, TypeError) as e:
        raise CheckpointError(f"{folder / NOTES}: not as eigensweep-convert writes it: {e!r}") from e
    files = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    return Source(name, "orbax", tensors, notes.get("config"), files, lambda: sha256, directory=folder, notes=notes)


def _matrix(source: Source, entry: dict[str, Any]) -> Matrix:
    tensor = source.tensors[entry["path"]]
    layout = entry.get("layout", "embedding" if entry["transposed"] else "linear")
    if layout not in get_args(Layout):
        raise ValueError(f"{entry['name']} is said to lie as {layout!r}")
    cut = Cut(tensor, layout, entry["index"])
    fields = {key: value for key, value in entry.items() if key != "layout"}
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
