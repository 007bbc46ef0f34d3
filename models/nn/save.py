"""A trained model written as eigensweep-convert writes one: `open_checkpoint` reads it, a sweep takes it."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.matrix import Matrix
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, walk
from eigensweep.models.orbax import FORMAT, NOTES
from eigensweep.models.staging import staged

_STEMS = {"bert": "Bert", "camembert": "Camembert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
_UNSTORED = ("reader", "file", "dtype")


def write_trained(checkpoint: Checkpoint, model: Model, params: Params, out: str | Path) -> Path:
    """Writes the parameters of a trained classifier in Orbax.

    `open_checkpoint(out)` finds the matrices under the names that they have in `checkpoint`, and new heads' under
    their paths; `nn.load` gives the classifier back.

    Args:
      checkpoint: where the training started.
      model, params: what it ended with.
      out: a folder that does not exist, or is empty. It appears when it is complete.

    Raises:
      CheckpointError: `out` is occupied or cannot be written.
    """
    import orbax.checkpoint as ocp

    leaves = {path: np.asarray(leaf) for path, leaf in walk(params)}
    # OCDBT and zarr 2 are what sources.orbax reads; said here so that another default changes nothing.
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=False)
    with staged(out) as stage:
        with ocp.Checkpointer(handler) as checkpointer:
            checkpointer.save(stage.absolute(), args=ocp.args.PyTreeSave(params))
        notes = _notes(checkpoint, model, leaves)
        (stage / NOTES).write_text(json.dumps(notes, indent=1), encoding="utf-8")
    return Path(out).expanduser().absolute()


def _notes(checkpoint: Checkpoint, model: Model, leaves: dict[str, np.ndarray]) -> dict[str, Any]:
    kept = [matrix for matrix in checkpoint.matrices if matrix.path in leaves]
    known = {matrix.path for matrix in kept}
    config = dict(checkpoint.config or {})
    stem = (config.get("architectures") or [""])[0].split("For")[0].removesuffix("Model")
    labels = {i: f"LABEL_{i}" for i in range(model.architecture.num_labels)}
    if len(config.get("id2label") or ()) != len(labels):  # the labels of another task
        config |= {"id2label": labels, "label2id": {name: i for i, name in labels.items()}}
    config |= {
        "architectures": [f"{stem or _STEMS[config['model_type']]}ForSequenceClassification"],
        "num_labels": len(labels),
    }
    digest = hashlib.sha256()
    for path in sorted(leaves):
        digest.update(f"{path} {leaves[path].dtype} {leaves[path].shape}".encode())
        digest.update(np.ascontiguousarray(leaves[path]).tobytes())
    return {
        "format": FORMAT,
        "identity": {
            "source": f"{checkpoint.source.name}, trained",
            "kind": "orbax",
            "architecture": checkpoint.architecture,
            "files": {},
            "sha256": digest.hexdigest(),
        },
        "config": config,
        "leaves": {
            path: {"shape": list(leaf.shape), "dtype": leaf.dtype.name} for path, leaf in leaves.items()
        },
        "matrices": [_entry(matrix) for matrix in kept]
        + [
            _entry(_fresh(path, leaf))
            for path, leaf in leaves.items()
            if leaf.ndim == 2 and path not in known
        ],
        "skipped": [
            {"name": path, "shape": list(leaf.shape), "dtype": leaf.dtype.name, "reason": "not a matrix"}
            for path, leaf in leaves.items()
            if leaf.ndim != 2
        ],
        "warnings": [],
    }


def _entry(matrix: Matrix) -> dict[str, Any]:
    return {
        f.name: getattr(matrix, f.name) for f in dataclasses.fields(matrix) if f.name not in _UNSTORED
    } | {"shape": list(matrix.shape), "tied": list(matrix.tied)}


def _fresh(path: str, leaf: np.ndarray) -> Matrix:
    """A matrix of a head that the training added."""
    head = path.split("/")[0]
    role = head if head in ("pooler", "classifier") else "other"
    shape = (leaf.shape[1], leaf.shape[0])
    return Matrix(
        path, role, None, shape, leaf.dtype.name, False, (), "", None, path, None, True, leaf.T.copy
    )
