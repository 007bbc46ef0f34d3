"""What a training writes: its states, the newest one only and each whole or not at all, and the trained model.

The model is written as eigensweep-convert writes one: `open_checkpoint` reads it, a sweep takes it.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.errors import CheckpointError, InputError
from eigensweep.models.matrix import Matrix, Tensor
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, walk
from eigensweep.models.orbax import quiet, write_orbax
from eigensweep.models.plan import Leaf

_STEMS = {
    "bert": "Bert",
    "camembert": "Camembert",
    "distilbert": "DistilBert",
    "electra": "Electra",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
}
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
    leaves = {path: np.asarray(leaf) for path, leaf in walk(params)}
    write_orbax(out, [_leaf(path, array) for path, array in leaves.items()], _notes(checkpoint, model, leaves))
    return Path(out).expanduser().absolute()


def _leaf(path: str, array: np.ndarray) -> Leaf:
    def rows(start: int, stop: int) -> np.ndarray:
        return array[start:stop] if array.ndim else array

    return Leaf(path, array.shape, Tensor(path, array.shape, array.dtype.name, path, rows))


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
        "identity": {
            "source": f"{checkpoint.source.name}, trained",
            "kind": "orbax",
            "architecture": checkpoint.architecture,
            "files": {},
            "sha256": digest.hexdigest(),
        },
        "config": config,
        "matrices": [_entry(matrix) for matrix in kept]
        + [_entry(_fresh(path, leaf)) for path, leaf in leaves.items() if leaf.ndim == 2 and path not in known],
        "skipped": [
            {"name": path, "shape": list(leaf.shape), "dtype": leaf.dtype.name, "reason": "not a matrix"}
            for path, leaf in leaves.items()
            if leaf.ndim != 2
        ],
        "warnings": [],
    }


def _entry(matrix: Matrix) -> dict[str, Any]:
    return {f.name: getattr(matrix, f.name) for f in dataclasses.fields(matrix) if f.name not in _UNSTORED} | {
        "shape": list(matrix.shape),
        "tied": list(matrix.tied),
    }


def _fresh(path: str, leaf: np.ndarray) -> Matrix:
    """A matrix of a head that the training added."""
    head = path.split("/")[0]
    role = head if head in ("pooler", "classifier") else "other"
    shape = (leaf.shape[1], leaf.shape[0])
    return Matrix(path, role, None, shape, leaf.dtype.name, False, (), "", None, path, None, True, leaf.T.copy)


class TrainingError(InputError, ValueError):
    """A training that cannot be done or continued; the message says what to change."""


def write_state(directory: Path, step: int, state: Params, notes: dict[str, Any]) -> None:
    """Writes `directory`/step_<step>, then removes the older ones.

    Args:
      directory: created where it is missing.
      step: steps done.
      state: a tree of arrays.
      notes: JSON-able.

    Raises:
      CheckpointError: it cannot be written.
    """
    import orbax.checkpoint as ocp

    items = ocp.args.Composite(state=ocp.args.StandardSave(_leaves(state)), notes=ocp.args.JsonSave(notes))
    try:
        with quiet(), _manager(directory) as manager:
            manager.save(step, args=items, force=True)
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be written: {error.strerror or error}") from error
    except ValueError as error:  # tensorstore's, of a full disk for example
        raise CheckpointError(f"{directory}: cannot be written: {str(error).splitlines()[0]}") from error


def newest_state(directory: Path, like: Params) -> tuple[Params, dict[str, Any]] | None:
    """The newest state and its notes; None where there is none.

    Args:
      directory: of `write_state`.
      like: a tree of the same form; its shapes, dtypes and places are what the result gets.

    Raises:
      TrainingError: it cannot be read, or has another form.
    """
    import orbax.checkpoint as ocp

    if not directory.is_dir():
        return None
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _leaves(like))
    items = ocp.args.Composite(state=ocp.args.StandardRestore(target), notes=ocp.args.JsonRestore())
    with _manager(directory) as manager:
        if (step := manager.latest_step()) is None:
            return None
        try:
            found = manager.restore(step, args=items)
            notes = dict(found.notes)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{directory / f'step_{step:08d}'}: the saved state is damaged, or of another model "
                f"({type(error).__name__}); delete this folder to begin anew"
            ) from error
    return jax.tree.unflatten(jax.tree.structure(like), list(found.state.values())), notes


def _leaves(state: Params) -> dict[str, Any]:
    """By number, so that what Orbax makes of optax's named tuples does not matter."""
    return {f"{i:05d}": leaf for i, leaf in enumerate(jax.tree.leaves(state))}


def _manager(directory: Path) -> Any:
    """What a killed process left half written has another name, and goes."""
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(
        max_to_keep=1,
        step_prefix="step",
        step_format_fixed_length=8,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=False,
    )
    return ocp.CheckpointManager(directory.absolute(), options=options)
