"""Training a classifier or a language model: its head, or all of it; stopped early, continued where interrupted.

AdamW (Loshchilov and Hutter 2019) over a linear warm-up and decay, gradients clipped by their global norm, no decay of
biases and norms: BERT's recipe (Devlin et al. 2019). Every random number belongs to (seed, step), the order of the
rows to (seed, epoch), so that a training that is killed and started again ends with the same bits as one that is not.
"""

import dataclasses
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
from eigensweep.models.nn.devices import shard_batch, with_memory_advice
from eigensweep.models.nn.evaluate import row_losses, score
from eigensweep.models.nn.intervention import Intervention
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.optimizer import optimizer
from eigensweep.models.nn.parameters import Params
from eigensweep.models.nn.recipe import Progress, TrainOptions
from eigensweep.models.nn.save import TrainingError, write_state
from eigensweep.models.nn.training_state import copied, first_state, identity_of

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
    training = _Training(
        model, params, rows, validation, options, seed, directory, mesh, on_look, head, save_at, on_save, intervention
    )
    multiple = 1 if mesh is None else mesh.shape["data"]
    return with_memory_advice(training.run, options.batch_size, training.gradient_of_one, multiple)


@dataclasses.dataclass
class _Training:
    """What `train` was given, and its loop."""

    model: Model
    params: Params
    rows: Rows
    validation: Rows
    options: TrainOptions
    seed: int
    directory: Path | None
    mesh: Mesh | None
    on_look: Callable[[Progress, int], None] | None
    head: str
    save_at: Collection[int]
    on_save: Callable[[int, Params], None] | None
    intervention: Intervention | None

    def __post_init__(self) -> None:
        mine = _OF_HEAD[self.head]
        others = {key for keys in _OF_HEAD.values() for key in keys} - set(mine)
        keys = mine if self.options.trainable == "head" else tuple(key for key in self.params if key not in others)
        self.trained = {key: self.params[key] for key in keys if key in self.params}
        self.frozen = {key: value for key, value in self.params.items() if key not in self.trained}
        self.identity = identity_of(
            self.model, self.params, self.rows, self.validation, self.options, self.seed, self.head, self.intervention
        )

    def gradient_of_one(self, size: int) -> object:
        """Of the first `size` rows: do they fit?"""
        batch = shard_batch(next(batches(self.rows, size)), self.mesh)
        return _gradient(self.model, self.head, self.trained, self.frozen, batch, None, self.intervention)

    def run(self, size: int) -> tuple[Params, Progress]:
        """From the first step, or from the newest state, to the last."""
        del size  # the options'
        state, progress = first_state(self.directory, self.identity, self.trained, self.options, self.mesh)
        _, total = self.options.steps(len(self.rows.row))
        losses: list[Array] = []
        if self.on_save and not progress.step and 0 in self.save_at:
            self.on_save(0, self.params)
        for batch in itertools.islice(_order(self.rows, self.options, self.seed), progress.step, None):
            if _is_over(progress, total, self.options):
                break
            state, loss = self._step(state, batch, progress.step, total)
            losses.append(loss)
            progress.step += 1
            if self.on_save and progress.step in self.save_at:
                _refuse_divergence(self.directory, progress, losses, state["params"])
                self.on_save(progress.step, {**self.frozen, **state["params"]})
            if _is_look(progress.step, len(self.rows.row), self.options):
                _refuse_divergence(self.directory, progress, losses, state["params"])
                self._look(state, progress, losses)
                if self.directory is not None:
                    notes = dataclasses.asdict(progress) | {"identity": self.identity}
                    write_state(self.directory, progress.step, state, notes)
                if self.on_look:
                    self.on_look(progress, total)
        if not progress.best_step:
            raise TrainingError(
                "the validation loss is not finite at any look: lower the learning rate, or clip harder"
            )
        return {**self.params, **state["best"]}, progress

    def _step(self, state: Params, batch: Rows, number: int, total: int) -> tuple[Params, Array]:
        key = jax.random.key(self.seed, impl="rbg") if self.options.dropout else None
        # what a step needs: nothing else is compiled anew for
        recipe = dataclasses.replace(self.options, epochs=1, evaluate_every=0, patience=0, max_steps=0)
        batch = shard_batch(batch, self.mesh)
        static = (self.model, self.head, recipe, total)
        return _step(*static, state, self.frozen, batch, key, np.int32(number), self.intervention)

    def _look(self, state: Params, progress: Progress, losses: list[Array]) -> None:
        """Score the validation rows; keep the parameters if they are the best so far."""
        params, size = {**self.frozen, **state["params"]}, self.options.batch_size
        scores = score(self.model, params, self.validation, size, self.head, self.mesh, self.intervention)
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
            state["best"] = copied(state["params"])
        else:
            progress.stale += 1


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
