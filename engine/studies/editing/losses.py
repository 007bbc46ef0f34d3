"""The loss on a text without directions: the edit's, and all coherent or all incoherent ones of a circuit at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.engine.run.progress import OnProgress, Progress
from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.studies.edited_model import open_measure
from eigensweep.engine.studies.editing.edits import Weights
from eigensweep.engine.studies.editing.options import EditOptions
from eigensweep.engine.studies.editing.updates import Editable
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import read_json, read_table
from eigensweep.models import Checkpoint
from eigensweep.models.circuits import Address


@dataclass(frozen=True)
class Removal:
    """Directions that are scaled together, under a name; all of one circuit where that is given."""

    name: str
    directions: tuple[Address, ...]
    circuit: Address | None = None


def read_coherent(directory: str, checkpoint: Checkpoint) -> dict[str, dict[int, bool]]:
    """Of every circuit of a tokens run, by address, which of its directions are coherent: rejected on a side and sign.

    Raises:
      RunError: no tokens run, one without coherence, or one of another checkpoint.
    """
    folder = Path(directory)
    manifest = read_json(folder / "tokens.json")
    if manifest is None or manifest.get("status") != "done":
        raise RunError(f"--tokens_run={directory}: not the run directory of a finished tokens study")
    if manifest.get("checkpoint", {}).get("sha256") != checkpoint.identity["sha256"]:
        raise RunError(f"--tokens_run={directory}: is of another checkpoint, {manifest['checkpoint'].get('source')}")
    path = folder / "directions.parquet"
    table = read_table(path)
    if absent := {"circuit", "index", "rejected"} - set(table.column_names):
        raise RunError(f"{path}: does not say which directions are coherent (no column {', '.join(sorted(absent))})")
    found: dict[str, dict[int, bool]] = {}
    columns = (table[name].to_pylist() for name in ("circuit", "index", "rejected"))
    for circuit, index, rejected in zip(*columns, strict=True):
        if rejected is not None:
            of = found.setdefault(circuit, {})
            of[index] = of.get(index, False) or bool(rejected)
    return found


def coherent_sets(coherent: Mapping[str, Mapping[int, bool]], circuits: Mapping[Address, Editable]) -> list[Removal]:
    """All coherent and all incoherent directions of each circuit that the edit touches, as far as the run has them.

    Raises:
      RunError: the run has none of a circuit.
    """
    removals = []
    for circuit in circuits:
        known = coherent.get(str(circuit))
        if not known:
            raise RunError(f"the tokens run has no directions of {circuit} that were tested for coherence")
        for name, wanted in (("coherent", True), ("incoherent", False)):
            chosen = tuple(replace(circuit, index=index) for index, is_so in sorted(known.items()) if is_so == wanted)
            removals.append(Removal(name, chosen, circuit))
    return removals


def text_losses(
    checkpoint: Checkpoint,
    removals: Sequence[Removal],
    circuits: Mapping[Address, Editable],
    weights: Weights,
    scale: float,
    options: EditOptions,
    on_progress: OnProgress,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of LOSSES, and what the model was measured on and its loss as it is.

    Raises:
      RunError, DataError: no head that predicts anything; the text does not serve.
    """
    measure = open_measure(checkpoint, options, options.seed)
    before = measure.evaluate({})
    rows = []
    for number, removal in enumerate(removals):
        on_progress(Progress(number, len(removals), number, len(removals), phase="measuring"))
        touched = {address.circuit for address in removal.directions}
        after = before
        if removal.directions:
            edit = weights.edit([circuits[a.circuit].removal(a.index or 0, scale) for a in removal.directions])
            after = measure.evaluate(edit.matrices, edit.vectors)
        change, low, high = paired_interval(
            after.loss - before.loss, before.weight, options.seed, options.num_resamples
        )
        squares = sum(circuits[a.circuit].s[(a.index or 0) - 1] ** 2 for a in removal.directions)
        total = sum(np.sum(circuits[circuit].s ** 2) for circuit in touched)
        rows.append({
            "removed": removal.name, "circuit": removal.circuit and str(removal.circuit),
            "directions": len(removal.directions), "share": float(squares / total) if total else 0.0,
            "loss": after.mean, "change": change, "change_low": low, "change_high": high,
        })  # fmt: skip
    return rows, {**measure.description, "loss": before.mean}
