"""The state of a training: where it begins or goes on, and of which training it is."""

import hashlib
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from eigensweep.models.data.batches import Rows
from eigensweep.models.nn.intervention import Intervention
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.optimizer import optimizer
from eigensweep.models.nn.parameters import Params, walk
from eigensweep.models.nn.recipe import Progress, TrainOptions
from eigensweep.models.nn.save import TrainingError, newest_state


def first_state(
    directory: Path | None, identity: str, trained: Params, options: TrainOptions, mesh: Mesh | None
) -> tuple[Params, Progress]:
    """The first state, or the newest one in `directory`; "best" are the parameters of the lowest validation loss.

    Raises:
      TrainingError: `directory` holds another training.
    """
    state = {
        "params": copied(trained),
        "optimizer": optimizer(options, 2).init(trained),  # its form does not depend on the number of steps
        "best": copied(trained),
    }
    if mesh is not None:  # where the first step leaves it, or the second compiles anew
        state = jax.tree.map(partial(_onto, mesh), state)
    found = None if directory is None else newest_state(directory, state)
    if found is None:
        return state, Progress()
    state, notes = found
    if notes.pop("identity", None) != identity:
        raise TrainingError(
            f"{directory}: holds another training (of another model, data, options or seed); take a new directory"
        )
    return state, Progress(**notes)


def copied(tree: Params) -> Params:
    """Buffers of its own: a step takes those of its state for the next."""
    return jax.tree.map(jnp.copy, tree)


def _onto(mesh: Mesh, leaf: Array) -> Array:
    """Whole on every device, if it is not on the mesh."""
    if leaf.sharding.device_set == set(mesh.devices.flat):
        return leaf
    return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec()))


def identity_of(
    model: Model,
    params: Params,
    rows: Rows,
    validation: Rows,
    options: TrainOptions,
    seed: int,
    head: str,
    intervention: Intervention | None,
) -> str:
    """A hash over all that determines a training; the model's is its architecture, heads and dtype."""
    besides = "" if head == "classifier" and not options.max_steps else f" {head} {options.max_steps}"
    total = hashlib.sha256(f"{model} {options} {seed}{besides}".encode())
    for array in (*rows, *validation, *jax.tree.leaves(intervention)):
        total.update(np.ascontiguousarray(array).tobytes())
    for path, leaf in sorted(walk(params), key=lambda item: item[0]):
        total.update(path.encode())
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()
