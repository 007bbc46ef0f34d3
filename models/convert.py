"""A checkpoint written as a Flax pytree in Orbax, a few tensors in memory at a time, whole or not at all."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Matrix
from eigensweep.models.params import checked_leaves, nest
from eigensweep.models.plan import Leaf
from eigensweep.models.sources.orbax import FORMAT, NOTES
from eigensweep.models.staging import staged

_BATCH_BYTES = 1 << 28  # large enough to keep the disk busy, small beside any model


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote."""

    directory: Path
    architecture: str
    num_leaves: int
    num_bytes: int


def _notes(checkpoint: Checkpoint, leaves: list[Leaf]) -> dict[str, Any]:
    """What the pytree alone does not tell: where it came from, and its matrices under the source's names."""

    def entry(matrix: Matrix) -> dict[str, Any]:
        fields = {f.name: getattr(matrix, f.name) for f in dataclasses.fields(matrix)}
        del fields["reader"], fields["file"], fields["dtype"]
        return fields

    return {
        "format": FORMAT,
        "identity": checkpoint.identity,
        "config": checkpoint.config,
        "leaves": {leaf.path: {"shape": leaf.shape, "dtype": leaf.dtype} for leaf in leaves},
        "matrices": [entry(matrix) for matrix in checkpoint.matrices],
        "skipped": [dataclasses.asdict(skipped) for skipped in checkpoint.skipped],
        "warnings": checkpoint.warnings,
    }


def _batches(triples: list[tuple[Leaf, Any, Any]]) -> Iterator[list[tuple[Leaf, Any, Any]]]:
    """Runs of leaves (each with what Orbax wants to know of it) that fit into memory together."""
    batch: list[tuple[Leaf, Any, Any]] = []
    size = 0
    for triple in triples:
        size += triple[0].nbytes
        if batch and size > _BATCH_BYTES:
            yield batch
            batch, size = [], triple[0].nbytes
        batch.append(triple)
    if batch:
        yield batch


def _save(leaves: list[Leaf], directory: Path) -> None:
    """Orbax's own saving, but for leaves that are read when it is their turn and forgotten afterwards."""
    import jax
    import orbax.checkpoint as ocp

    class Handler(ocp.type_handlers.NumpyHandler):
        """Reads some leaves, saves them as arrays and waits until they are written before it reads more."""

        async def serialize(self, values, infos, args=None):
            triples = list(zip(values, infos, args or [ocp.SaveArgs()] * len(values), strict=True))
            for batch in _batches(triples):
                chosen, batch_infos, batch_args = zip(*batch, strict=True)
                arrays = [leaf.read() for leaf in chosen]
                for future in await super().serialize(arrays, batch_infos, batch_args):
                    future.result()
            return []

    registry = ocp.type_handlers.create_type_handler_registry(
        (Leaf, Handler(deepcopy_host_arrays=False)),
        (
            jax.Array,
            ocp.type_handlers.ArrayHandler(),
        ),  # there are none, but Orbax warns where it has no handler
    )
    stored = {
        leaf.path: leaf for leaf in leaves if leaf.nbytes
    }  # Orbax refuses empty arrays; the notes have them
    # OCDBT and zarr 2 are what sources.orbax reads; said here so that another default changes nothing.
    handler = ocp.PyTreeCheckpointHandler(type_handler_registry=registry, use_ocdbt=True, use_zarr3=False)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(directory, args=ocp.args.PyTreeSave(nest(stored)))


def convert(checkpoint: Checkpoint, out: str | Path) -> Converted:
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
    nest(
        {leaf.path: leaf for leaf in leaves}
    )  # refuses names that cannot be nested before anything is written
    with staged(out) as stage:
        try:
            _save(leaves, stage)
        except CheckpointError:
            raise
        except ValueError as e:  # tensorstore's, e.g. of a full disk
            raise CheckpointError(f"{out}: cannot be written: {str(e).splitlines()[0]}") from e
        (stage / NOTES).write_text(json.dumps(_notes(checkpoint, leaves), indent=1), encoding="utf-8")
    num_bytes = sum(leaf.nbytes for leaf in leaves)
    return Converted(Path(out).expanduser().absolute(), checkpoint.architecture, len(leaves), num_bytes)
