"""The states of a training on disk: Orbax, the newest one only, each whole or not at all."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jax

from eigensweep.models.errors import InputError
from eigensweep.models.nn.parameters import Params
from eigensweep.models.staging import staged


class TrainingError(InputError, ValueError):
    """A training that cannot be done or continued; the message says what to change."""


_NAME = re.compile(r"step-(\d{8})")
_NOTES = "progress.json"


def write_state(directory: Path, step: int, state: Params, notes: dict[str, Any]) -> None:
    """Writes `directory`/step-<step>, then removes the older ones.

    Args:
      directory: created where it is missing.
      step: steps done.
      state: a tree of arrays.
      notes: JSON-able.

    Raises:
      CheckpointError: it cannot be written.
    """
    import orbax.checkpoint as ocp

    target = directory / f"step-{step:08d}"
    with staged(target) as stage, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((stage / "state").absolute(), _leaves(state))
        checkpointer.wait_until_finished()
        (stage / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
    for other in _states(directory):
        if other != target:
            shutil.rmtree(other)


def newest_state(directory: Path, like: Params) -> tuple[Params, dict[str, Any]] | None:
    """The newest state and its notes; None where there is none.

    Args:
      directory: of `write_state`.
      like: a tree of the same form; its shapes, dtypes and places are what the result gets.

    Raises:
      TrainingError: it cannot be read, or has another form.
    """
    import orbax.checkpoint as ocp

    states = _states(directory)
    if not states:
        return None
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _leaves(like))
    newest = states[-1]
    try:
        notes = dict(json.loads((newest / _NOTES).read_text(encoding="utf-8")))
        with ocp.StandardCheckpointer() as checkpointer:
            leaves = checkpointer.restore((newest / "state").absolute(), target)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{newest}: the saved state is damaged, or of another model ({type(error).__name__}); "
            "delete this folder to begin anew"
        ) from error
    return jax.tree.unflatten(jax.tree.structure(like), list(leaves.values())), notes


def _leaves(state: Params) -> dict[str, Any]:
    """By number, so that what Orbax makes of optax's named tuples does not matter."""
    return {f"{i:05d}": leaf for i, leaf in enumerate(jax.tree.leaves(state))}


def _states(directory: Path) -> list[Path]:
    """Oldest first; what a killed process left half written has another name."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
