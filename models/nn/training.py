"""Training a classifier or a language model: its head, or all of it; stopped early, continued where interrupted.

AdamW (Loshchilov and Hutter 2019) over a linear warm-up and decay, gradients clipped by their global norm, no decay of
biases and norms: BERT's recipe (Devlin et al. 2019). Every random number belongs to (seed, step), the order of the
rows to (seed, epoch), so that a training that is killed and started again ends with the same bits as one that is not.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh

from eigensweep.models.data.batches import Rows, batches
from eigensweep.models.nn.devices import on_mesh, shard_batch, with_memory_advice
from eigensweep.models.nn.evaluate import row_losses, score
from eigensweep.models.nn.intervention import Intervention
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.optimizer import optimizer
from eigensweep.models.nn.parameters import Params, walk
from eigensweep.models.nn.recipe import Progress, TrainOptions
from eigensweep.models.nn.save import TrainingError, newest_state, write_state

_OF_HEAD = {"classifier": ("pooler", "classifier"), "unembedding": ("unembedding",), "mlm": ("mlm",)}
"""The parts of the tree that belong to a head alone; no gradient reaches those of others, and decay must not."""


def train(
    model: Model,
    params: Params,
    rows: Rows,
    validation: Rows,
    options: TrainOptions,
    seed: int,
    *,
    directory: Path | None = None,
    mesh: Mesh | None = None,
    on_look: Callable[[Progress, int], None] | None = None,
    head: str = "classifier",
    save_at: Collection[int] = (),
    on_save: Callable[[int, Params], None] | None = None,
    intervention: Intervention | None = None,
) -> tuple[Params, Progress]:
    """Minimises the mean cross-entropy of a head: over a batch's labels, or over its tokens that are targets.

    Args:
      model, params: with that head (for a "classifier" see `with_classifier`); `params` is left as it is.
      rows, validation: targets (N,) are classes; of a language model they are (N, T), the tokens to predict.
      options: the recipe.
      seed: of the order of the rows and of dropout.
      directory: where the state is saved at every look, and continued from; None keeps nothing.
      mesh: deals the rows of a batch out over its axis "data"; the parameters lie by `shardings`.
      on_look: called after every look at the validation rows with the progress and the number of all steps.
      head: "classifier", "unembedding" (the next token) or "mlm".
      save_at, on_save: after these steps (0: before the first) `on_save` gets the step and the parameters, before a
        state of that step is written: what is continued calls it again for every step that it does again.
      intervention: on the residual stream, in every forward pass; it is not trained.

    Returns:
      The parameters with the lowest validation loss, and the progress.

    Raises:
      TrainingError: `directory` holds another training; or this one diverges, at the step that the message names. The
        state of the last look stays in `directory`, and nothing that is not finite is saved.
      DeviceMemoryError: with the batch size that would fit.
    """
    model.head(head)
    others = {key for name in _OF_HEAD for key in _OF_HEAD[name]} - set(_OF_HEAD[head])
    keys = _OF_HEAD[head] if options.trainable == "head" else tuple(key for key in params if key not in others)
    trained = {key: params[key] for key in keys if key in params}
    frozen = {key: value for key, value in params.items() if key not in trained}
    identity = _identity(model, params, rows, validation, options, seed, head, intervention)

    def gradient_of_one(size: int) -> object:
        batch = shard_batch(next(batches(rows, size)), mesh)
        return _gradient(model, head, trained, frozen, batch, None, intervention)

    def run(size: int) -> tuple[Params, Progress]:
        del size  # the options'
        state, progress = _start(directory, identity, trained, options, mesh)
        key = jax.random.key(seed, impl="rbg") if options.dropout else None
        _, total = options.steps(len(rows.row))
        recipe = dataclasses.replace(options, epochs=1, evaluate_every=0, patience=0, max_steps=0)  # what a step needs
        losses: list[Array] = []
        if on_save and not progress.step and 0 in save_at:
            on_save(0, params)
        for batch in itertools.islice(_order(rows, options, seed), progress.step, None):
            if _is_over(progress, total, options):
                break
            state, loss = _step(
                model,
                head,
                recipe,
                total,
                state,
                frozen,
                shard_batch(batch, mesh),
                key,
                np.int32(progress.step),
                intervention,
            )
            losses.append(loss)
            progress.step += 1
            if on_save and progress.step in save_at:
                _refuse_divergence(directory, progress, losses, state["params"])
                on_save(progress.step, {**frozen, **state["params"]})
            if _is_look(progress.step, len(rows.row), options):
                _refuse_divergence(directory, progress, losses, state["params"])
                _look(model, head, frozen, validation, options, mesh, state, progress, losses, intervention)
                if directory is not None:
                    write_state(directory, progress.step, state, _to_json(progress, identity))
                if on_look:
                    on_look(progress, total)
        if not progress.best_step:
            raise TrainingError(
                "the validation loss is not finite at any look: lower the learning rate, or clip harder"
            )
        return {**params, **state["best"]}, progress

    multiple = 1 if mesh is None else mesh.shape["data"]
    return with_memory_advice(run, options.batch_size, gradient_of_one, multiple)


def _gradient(
    model: Model,
    head: str,
    trained: Params,
    frozen: Params,
    batch: Rows,
    key: Array | None,
    intervention: Intervention | None = None,
) -> tuple[Array, Params]:
    """Mean cross-entropy of a batch, and its gradient."""

    def loss(trained: Params) -> Array:
        total, count, _ = row_losses(model, {**frozen, **trained}, batch, head, key, intervention)
        return total.sum() / jnp.maximum(count.sum(), 1)

    return jax.value_and_grad(loss)(trained)


@partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=4)
def _step(
    model: Model,
    head: str,
    options: TrainOptions,
    total: int,
    state: Params,
    frozen: Params,
    batch: Rows,
    key: Array | None,
    number: Any,
    intervention: Intervention | None,
) -> tuple[Params, Array]:
    """One step. The passes through the model are compiled as one loop over its blocks.

    The optimizer's part is a few elementwise kernels a leaf, and so still grows with the depth: stacked as the blocks
    are in the loop, the norm that clips would be summed in another order, and a training would end with other bits.
    """
    key = None if key is None else jax.random.fold_in(key, number)
    loss, gradient = _gradient(model, head, state["params"], frozen, batch, key, intervention)
    updates, moments = optimizer(options, total).update(gradient, state["optimizer"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    return {"params": params, "optimizer": moments, "best": state["best"]}, loss


def _order(rows: Rows, options: TrainOptions, seed: int) -> Iterator[Rows]:
    """The batches of all epochs."""
    for epoch in range(options.epochs):
        (shuffle,) = np.random.SeedSequence((seed, epoch)).generate_state(1)
        yield from batches(rows, options.batch_size, int(shuffle))


def _is_look(step: int, num_rows: int, options: TrainOptions) -> bool:
    per_epoch, total = options.steps(num_rows)
    return step == total or step % (options.evaluate_every or per_epoch) == 0


def _is_over(progress: Progress, total: int, options: TrainOptions) -> bool:
    return progress.step >= total or 0 < options.patience <= progress.stale


def _refuse_divergence(directory: Path | None, progress: Progress, losses: list[Array], params: Params) -> None:
    """Go on only with finite numbers.

    Raises:
      TrainingError: names the first step since the last look whose loss, or whose update, is not finite.
    """
    finite = [bool(np.isfinite(loss)) for loss in losses]
    if all(finite) and _all_finite(jax.tree.leaves(params)):
        return
    step = progress.step - len(finite) + 1 + finite.index(False) if False in finite else progress.step
    what = "the loss is" if False in finite else "the parameters are"
    looked = int(progress.history[-1]["step"]) if progress.history else 0
    kept = f"; {directory} keeps the state of step {looked}" if directory is not None and looked else ""
    raise TrainingError(
        f"the training diverges: {what} not finite at step {step}: lower the learning rate, or clip harder{kept}"
    )


@jax.jit
def _all_finite(leaves: list[Array]) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def _look(
    model: Model,
    head: str,
    frozen: Params,
    validation: Rows,
    options: TrainOptions,
    mesh: Mesh | None,
    state: Params,
    progress: Progress,
    losses: list[Array],
    intervention: Intervention | None,
) -> None:
    """Score the validation rows; keep the parameters if they are the best so far."""
    params, size = {**frozen, **state["params"]}, options.batch_size
    scores = score(model, params, validation, size, head, mesh, intervention)
    progress.history.append(
        {
            "step": progress.step,
            "train_loss": float(np.mean([float(loss) for loss in losses])),
            "validation_loss": scores.mean,
            "validation_accuracy": scores.accuracy,
        }
    )
    losses.clear()
    if scores.mean < progress.best_loss:
        progress.best_loss, progress.best_step, progress.stale = scores.mean, progress.step, 0
        state["best"] = _copy(state["params"])
    else:
        progress.stale += 1


def _copy(tree: Params) -> Params:
    """Buffers of its own: a step takes those of its state for the next."""
    return jax.tree.map(jnp.copy, tree)


def _start(
    directory: Path | None, identity: str, trained: Params, options: TrainOptions, mesh: Mesh | None
) -> tuple[Params, Progress]:
    """The first state, or the newest one in `directory`."""
    state = {
        "params": _copy(trained),
        "optimizer": optimizer(options, 2).init(trained),  # its form does not depend on the number of steps
        "best": _copy(trained),
    }
    if mesh is not None:  # where the first step leaves it, or the second compiles anew
        state = on_mesh(state, mesh)
    found = None if directory is None else newest_state(directory, state)
    if found is None:
        return state, Progress()
    state, notes = found
    if notes.pop("identity", None) != identity:
        raise TrainingError(
            f"{directory}: holds another training (of another model, data, options or seed); take a new directory"
        )
    return state, Progress(**notes)


def _to_json(progress: Progress, identity: str) -> dict[str, Any]:
    return dataclasses.asdict(progress) | {"identity": identity}


def _identity(
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
