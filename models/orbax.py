"""A checkpoint written as a Flax pytree in Orbax: a few tensors in memory at a time, whole or not at all.

Beside Orbax's own files lies `eigensweep.json`, see `converted.py`, which reads what is written here.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.models.converted import FORMAT, leaf_sha256, write_notes
from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Matrix
from eigensweep.models.params import checked_leaves, nest
from eigensweep.models.plan import Leaf
from eigensweep.models.staging import runs, staged

if TYPE_CHECKING:
    from eigensweep.models.checkpoint import Checkpoint

_BATCH_BYTES = 1 << 28  # large enough to keep the disk busy, small beside any model


@dataclasses.dataclass(frozen=True)
class Converted:
    """What a conversion wrote."""

    directory: Path
    architecture: str
    num_leaves: int
    num_bytes: int


def convert(checkpoint: "Checkpoint", out: str | Path) -> Converted:
    """Writes a checkpoint as a Flax pytree in Orbax, every leaf bit for bit, quantised ones as they are dequantised.

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
    if not leaves:
        why = f": {checkpoint.skipped[0].reason}" if checkpoint.skipped else ""
        raise CheckpointError(f"{checkpoint.source.name}: holds nothing that can be converted{why}")
    checkpoint.fetch()
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
    return {name: value for name, value in fields.items() if name not in ("reader", "file", "dtype", "grid")}


def _layout_note(checkpoint: "Checkpoint", matrix: Matrix) -> dict[str, Any]:
    """How a matrix lies in a leaf that is kept as it was stored, where neither all of it nor its transpose is W."""
    cut = checkpoint.plan.cuts.get(matrix.name)
    if cut is None or matrix.transposed:
        return {}
    return ({} if cut.layout == "linear" else {"layout": cut.layout}) | ({"rows": cut.rows} if cut.rows else {})


def write_orbax(out: str | Path, leaves: list[Leaf], notes: dict[str, Any]) -> None:
    """Writes leaves in Orbax, and the notes that `converted.open_orbax` wants beside them.

    Args:
      out: a folder that does not exist, or is empty. It appears when it is complete.
      leaves: of the pytree.
      notes: identity, config, matrices (see `matrix_note`), skipped and warnings.

    Raises:
      CheckpointError: names of leaves that cannot be nested; `out` is occupied or cannot be written.
    """
    nest({leaf.path: leaf for leaf in leaves})  # refuses before anything is written
    shapes = {leaf.path: {"shape": leaf.shape, "dtype": leaf.dtype} for leaf in leaves}
    with staged(out, sum(leaf.nbytes for leaf in leaves)) as stage:
        sums = _save(leaves, stage)
        entries = {path: entry | {"sha256": sums[path]} for path, entry in shapes.items()}
        write_notes(stage, {"format": FORMAT, "leaves": entries, **notes})


def _save(leaves: list[Leaf], directory: Path) -> dict[str, str]:
    """Orbax's own saving, but for leaves that are read when it is their turn and forgotten afterwards.

    Returns:
      The sum of every leaf.
    """
    import jax
    import orbax.checkpoint as ocp

    sums = {leaf.path: leaf_sha256(np.zeros(0)) for leaf in leaves}

    class Handler(ocp.type_handlers.NumpyHandler):
        """Reads some leaves, saves them as arrays and waits until they are written before it reads more."""

        async def serialize(self, values, infos, args=None):
            triples = zip(values, infos, args or [ocp.SaveArgs()] * len(values), strict=True)
            for batch in runs(triples, lambda triple: triple[0].nbytes, _BATCH_BYTES):
                chosen, batch_infos, batch_args = zip(*batch, strict=True)
                arrays = [leaf.read() for leaf in chosen]
                sums.update((leaf.path, leaf_sha256(array)) for leaf, array in zip(chosen, arrays, strict=True))
                pending = []  # each leaf by itself: a failed write leaves no other behind in its event loop
                for array, info, arg in zip(arrays, batch_infos, batch_args, strict=True):
                    pending += await super().serialize([array], [info], [arg])
                _wait_for(pending)
            return []

    # There are no jax.Arrays, but Orbax warns where it has no handler for them.
    registry = ocp.type_handlers.create_type_handler_registry(
        (Leaf, Handler(deepcopy_host_arrays=False)), (jax.Array, ocp.type_handlers.ArrayHandler())
    )
    # Orbax refuses empty arrays; the notes have them.
    stored = {leaf.path: leaf for leaf in leaves if leaf.nbytes}
    # OCDBT and zarr 2 are what `converted.py` reads; said here so that another default changes nothing.
    handler = ocp.PyTreeCheckpointHandler(type_handler_registry=registry, use_ocdbt=True, use_zarr3=False)
    with quiet(), ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(directory, args=ocp.args.PyTreeSave(nest(stored)))
    return sums


def _wait_for(pending: list[Any]) -> None:
    """Until all are written or have failed; raises the first failure."""
    failures = []
    for future in pending:
        try:
            future.result()
        except (ValueError, OSError) as e:
            failures.append(e)
    if failures:
        raise failures[0]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the log of Orbax, which tells of a full disk in a hundred lines before it raises."""
    logger = logging.getLogger("absl")

    def none(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(none)
    try:
        yield
    finally:
        logger.removeFilter(none)
