"""Models larger than the device: one block's parameters at a time, every batch through it, then the next block.

The residual streams of all batches wait on the host; the next block is read from its file while the device computes.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np
from jax import Array

from eigensweep.models.data.batches import Rows
from eigensweep.models.nn.block import Context, Taps
from eigensweep.models.nn.evaluate import Scores, collect, score_logits
from eigensweep.models.nn.load import Read
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, place
from eigensweep.models.nn.stages import Output

Visit = Callable[[int, Taps], None]
Result = TypeVar("Result")


def stream(
    model: Model,
    read: Read,
    data: Iterable[Rows],
    finish: Callable[[Rows, Output], Result],
    head: str | None = "default",
    visit: Visit | None = None,
) -> list[Result]:
    """The forward pass of every batch with no more than one part of the parameters on the device.

    Args:
      model: its functions.
      read: where the parts come from; called once each, in order, one ahead of the computation.
      data: the batches, all of one shape.
      finish: what to keep of a batch's output (Output of the last stage: logits, hidden, pooled, taps).
      head: see Model.apply.
      visit: called with (batch number, taps) for every block and batch, and for the heads: the activations entering
        each linear layer under its canonical kernel path, on the device.

    Returns:
      finish(batch, output) of every batch.
    """
    data, name = list(data), model.head(head)
    num_blocks = model.architecture.num_blocks
    parts = ["embed", *(f"blocks/{i}" for i in range(num_blocks)), "head"]
    states: list[tuple[Any, Context]] = []
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, parts[0])
        for number, part in enumerate(parts):
            host = ahead.result()
            if part != "head":
                ahead = pool.submit(read, parts[number + 1])
            if part == "embed":
                states = _embed_all(model, host, data)
            elif part != "head":
                _block_all(model, host, number - 1, states, visit)
        return _finish_all(model, host, data, states, finish, name, visit)


def stream_score(model: Model, read: Read, data: Iterable[Rows], head: str = "default") -> Scores:
    """`evaluate.score` for a model larger than the device; `data` are batches of `data.batches`."""

    def finish(batch: Rows, output: Output) -> tuple[np.ndarray, tuple[Array, ...]]:
        return batch.row, jax.device_get(score_logits(output.logits, batch.targets))

    return collect(stream(model, read, data, finish, head))


def _embed_all(model: Model, host: Params, data: list[Rows]) -> list[tuple[Any, Context]]:
    params = place(host, keep=True)
    return [
        jax.device_get(
            model.embed(
                params,
                batch.input_ids,
                batch.attention_mask,
                type_ids=batch.type_ids if model.architecture.type_rows else None,
            )
        )
        for batch in data
    ]


def _block_all(
    model: Model, host: Params, index: int, states: list[tuple[Any, Context]], visit: Visit | None
) -> None:
    """Replace every batch's residual stream by what block `index` makes of it."""
    params = place(host, keep=True)
    for number, (x, context) in enumerate(states):
        x, taps = model.block(params, index, x, context, taps=visit is not None)
        if visit is not None:
            visit(number, {f"blocks/{index}/{path}": value for path, value in taps.items()})
        states[number] = (jax.device_get(x), context)


def _finish_all(
    model: Model,
    host: Params,
    data: list[Rows],
    states: list[tuple[Any, Context]],
    finish: Callable[[Rows, Output], Result],
    head: str | None,
    visit: Visit | None,
) -> list[Result]:
    params, results = place(host, keep=True), []
    for number, (batch, (x, context)) in enumerate(zip(data, states, strict=True)):
        output = model.unembed(params, x, context, head, taps=visit is not None)
        if visit is not None:
            visit(number, output.taps or {})
        results.append(finish(batch, output))
    return results
