"""The states of a training on disk, through Orbax's manager: the newest one only, each whole or not at all."""

from pathlib import Path
from typing import Any

import jax

from eigensweep.models.errors import CheckpointError, InputError
from eigensweep.models.nn.parameters import Params


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
        with _manager(directory) as manager:
            manager.save(step, args=items, force=True)
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be written: {error.strerror or error}") from error


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
