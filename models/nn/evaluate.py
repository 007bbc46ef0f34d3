"""What a model makes of data: perplexity, masked-token loss, accuracy, row by row so that they can be resampled.

Models larger than the device are streamed: one block's parameters at a time, every batch through it, then the next
block. The residual streams of all batches wait on the host; the next block is read while the device computes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh

from eigensweep.models.data.batches import IGNORE, Rows, batches
from eigensweep.models.nn.context import Context, Taps
from eigensweep.models.nn.devices import shard_batch, with_memory_advice
from eigensweep.models.nn.heads import Output
from eigensweep.models.nn.intervention import Intervention
from eigensweep.models.nn.load import Read
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, place
from eigensweep.models.nn.taps import Tapped
from eigensweep.models.nn.variants import read_ahead

Visit = Callable[[int, Taps], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Scores:
    """One entry a row of the data, in the data's order.

    Attributes:
      loss: (N,) float64, mean negative log-likelihood over the row's targets, nats; 0 where it has none.
      count: (N,) int64, number of targets.
      correct: (N,) int64, how many of them had the largest logit.
      weight: (N,) float64, the row's weight in the mean.
    """

    loss: np.ndarray
    count: np.ndarray
    correct: np.ndarray
    weight: np.ndarray

    @property
    def mean(self) -> float:
        """sum weight loss / sum weight, nats."""
        return float(np.sum(self.weight * self.loss) / np.sum(self.weight))

    @property
    def perplexity(self) -> float:
        """exp(mean)."""
        return float(np.exp(self.mean))

    @property
    def accuracy(self) -> float:
        """Share of the targets with the largest logit."""
        return float(self.correct.sum() / self.count.sum())


def row_losses(
    model: Model,
    params: Params,
    batch: Rows,
    head: str,
    dropout_key: Array | None = None,
    intervention: Intervention | None = None,
) -> tuple[Array, Array, Array]:
    """Losses of one batch; differentiable in params.

    Args:
      model, params: the model.
      batch: B rows; `targets` (B, T) for "unembedding" and "mlm", (B,) for "classifier".
      head: which of them.
      dropout_key, intervention: see Model.apply.

    Returns:
      total (B,) float32: summed negative log-likelihood of the row's targets, nats; count (B,), correct (B,) int32.
    """
    output = model.apply(
        params,
        batch.input_ids,
        batch.attention_mask,
        type_ids=batch.type_ids if model.architecture.type_rows else None,
        dropout_key=dropout_key,
        head=head,
        intervention=intervention,
        targets=batch.targets,
    )
    assert output.losses is not None
    return output.losses


def score(
    model: Model,
    params: Params,
    rows: Rows,
    batch_size: int,
    head: str = "default",
    mesh: Mesh | None = None,
    intervention: Intervention | None = None,
) -> Scores:
    """Every row's loss, weighted by its number of targets.

    Args:
      model, params: the model; on a mesh, the parameters placed by `shardings`.
      rows: the data.
      batch_size: rows a batch; one shape, one compilation.
      head: "unembedding", "mlm", "classifier" or the model's default.
      mesh: deals the rows of a batch out over its axis "data".
      intervention: on the residual stream; another of the same shapes compiles nothing anew.

    Raises:
      CheckpointError: the model has no such head.
      DeviceMemoryError: out of memory, with the batch size that would fit.
      ValueError: no row has a target.
    """
    head = predicting(model, head, rows)

    def run(size: int, most: int | None = None) -> list[tuple[Rows, tuple[Array, ...]]]:
        results = []
        for number, batch in enumerate(batches(rows, size)):
            if number == most:
                break
            results.append((batch, row_losses(model, params, shard_batch(batch, mesh), head, None, intervention)))
        return jax.block_until_ready(results)

    multiple = 1 if mesh is None else mesh.shape["data"]
    results = with_memory_advice(run, batch_size, lambda size: run(size, 1), multiple)
    return collect([(batch.row, parts) for batch, parts in results])


def predicting(model: Model, head: str, rows: Rows) -> str:
    """The head that predicts the rows' targets.

    Raises:
      CheckpointError: the model has no such head.
      ValueError: it predicts nothing, or no row has a target.
    """
    name = model.head(head) or ""
    if name in ("", "pooler"):
        raise ValueError("the model has no head that predicts anything: no language model, no classifier")
    if not (rows.targets != IGNORE).any():
        raise ValueError("rows: there is nothing to predict, no row has a target")
    return name


def collect(results: list[tuple[np.ndarray, tuple[Array, ...]]]) -> Scores:
    """Scores from the batches' (row, (total, count, correct)); rows that only filled up a batch are left out."""
    index = np.concatenate([index for index, _ in results])
    order = np.argsort(index, kind="stable")[np.sum(index < 0) :]
    total, count, correct = (
        np.concatenate([np.asarray(parts[i]) for _, parts in results])[order].astype(dtype)
        for i, dtype in enumerate((np.float64, np.int64, np.int64))
    )
    return Scores(total / np.maximum(count, 1), count, correct, count.astype(np.float64))


def perplexity(model: Model, params: Params, rows: Rows, batch_size: int, mesh: Mesh | None = None) -> Scores:
    """Perplexity over strided windows (`data.windows`) as transformers' guide defines it: `.perplexity`, `.mean`.

    The guide weights a window's mean loss by its number of new tokens less one, also where all of them are
    predicted (at stride 1 only the first window counts), and so does `weight` here: for comparing with published
    perplexities, not for studies. `score` weights by the number of predicted tokens, so that its mean is that over
    tokens at any stride. Where windows abut or leave text out the two are the same.

    Raises:
      As `score`.
    """
    scores = score(model, params, rows, batch_size, "unembedding", mesh)
    return with_guide_weights(scores, rows)


def with_guide_weights(scores: Scores, rows: Rows) -> Scores:
    """The weights of transformers' guide: new tokens less one (a window whose first token is new predicts no more)."""
    starts_new = rows.targets[:, 0] != IGNORE
    weight = (scores.count - ~starts_new).astype(np.float64)
    return Scores(scores.loss, scores.count, scores.correct, weight)


def stream(
    model: Model,
    read: Read,
    data: Iterable[Rows],
    finish: Callable[[Rows, Output], Result],
    head: str | None = "default",
    visit: Visit | None = None,
    taps: Tapped = True,
    intervention: Intervention | None = None,
    scored: bool = False,
) -> list[Result]:
    """The forward pass of every batch with no more than one part of the parameters on the device.

    Args:
      model: its functions.
      read: where the parts come from; called once each, in order, one ahead of the computation.
      data: the batches, all of one shape.
      finish: what to keep of a batch's output (Output of the last stage: logits, hidden, pooled, taps).
      head: see Model.apply.
      visit: called with (batch number, taps) for every block and batch, and for the heads: activations under their
        paths, on the device.
      taps: which kinds of them (see Model.apply); by default what enters each linear layer, under its kernel's path.
      intervention: on the residual stream.
      scored: give `finish` the losses of the batch's targets (Output.losses) and no logits.

    Returns:
      finish(batch, output) of every batch.
    """
    data, name = list(data), model.head(head)
    taps = taps if visit is not None else False
    if intervention is not None:
        intervention.check(model.architecture.num_blocks, model.architecture.width)
    states: list[tuple[Any, Context]] = []
    results = []
    for index, (part, host) in enumerate(read_ahead(model, read)):
        params = place(host, keep=True)
        for number, batch in enumerate(data):
            if part == "embed":
                types = batch.type_ids if model.architecture.type_rows else None
                found = model.embed(params, batch.input_ids, batch.attention_mask, type_ids=types)
                states.append(jax.device_get(found))
                continue
            x, context = states[number]
            if part == "head":
                targets = batch.targets if scored else None
                output = model.unembed(params, x, context, name, taps, intervention, targets)
                tapped = output.taps or {}
            else:
                x, inner = model.block(params, index - 1, x, context, taps, intervention)
                states[number] = (jax.device_get(x), context)
                tapped = {f"{part}/{path}": value for path, value in inner.items()}
            if visit is not None:
                visit(number, tapped)
            if part == "head":
                results.append(finish(batch, output))
        del params, host  # before the next is placed
    return results


def stream_score(
    model: Model, read: Read, data: Iterable[Rows], head: str = "default", intervention: Intervention | None = None
) -> Scores:
    """`score` for a model larger than the device; `data` are batches of `data.batches`."""

    def finish(batch: Rows, output: Output) -> tuple[np.ndarray, tuple[Array, ...]]:
        return batch.row, jax.device_get(output.losses)

    return collect(stream(model, read, data, finish, head, intervention=intervention, scored=True))
