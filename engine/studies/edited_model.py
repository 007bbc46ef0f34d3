"""The loss of a model with some of its matrices replaced: what removal studies measure by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array

from eigensweep.engine.studies.data import TextFields, describe_rows, rows_for, uncounted
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint, nn
from eigensweep.models.data import Rows, batches

Visit = Callable[[Rows, bool, Mapping[str, Array]], None]
MEASURES = {"unembedding": "perplexity", "mlm": "masked", "classifier": "accuracy"}


@dataclass(frozen=True)
class MeasureFields(TextFields):
    """How a model is measured."""

    measure: str = uncounted(
        "auto", "by the model's head, or perplexity, masked, accuracy", choices=("auto", *MEASURES.values())
    )
    param_dtype: str = uncounted(
        "", "of the parameters; as stored by default", choices=("", "float32", "bfloat16", "float16")
    )
    stream: bool = uncounted(
        False, "one block on the device at a time, read anew for every removal: for models beyond it"
    )


@dataclass(frozen=True)
class Measure:
    """A model, the rows that it is measured on, and the head that is.

    Attributes:
      description: JSON-able; tells one measurement from another.
      evaluate: the scores (`eigensweep.models.nn.Scores`) with matrices W (m, n), by name, in place of the model's own,
        and with vectors, by the paths of their leaves.
      activations: pass the same rows through the model as it is, block by block: calls its first argument with every
        batch, whether it is the last, and what enters the linear layers of one block, by tap (of the head too, where
        its second argument says so); None where there is no model.
    """

    description: dict[str, Any]
    evaluate: Callable[..., nn.Scores]
    activations: Callable[[Visit, bool], None] | None = None


def open_measure(checkpoint: Checkpoint, options: MeasureFields, seed: int) -> Measure:
    """Load the model and the data that options name.

    Raises:
      RunError: the options ask for what is not there; CheckpointError and DataError say what is wrong with the input.
    """
    model = nn.model_of(checkpoint, options.dtype)
    head = _head(model, options.measure, checkpoint.identity["source"])
    if options.stream and (options.devices > 1 or options.param_dtype or options.format == "sampled"):
        raise RunError("stream goes with neither devices, nor param_dtype, nor format = sampled")
    try:
        mesh = nn.make_mesh(options.devices) if options.devices > 1 else None
    except ValueError as error:
        raise RunError(f"devices: {error}") from error
    params = None
    if not options.stream:
        params = nn.load(checkpoint, options.dtype, mesh, options.param_dtype or None)[1]
    rows = rows_for(checkpoint, model, params, options, seed, head, "evenly")

    def evaluate(replaced: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray] | None = None) -> nn.Scores:
        if params is None:
            return nn.streamed_scores(checkpoint, model, replaced, rows, options.batch_size, head, vectors)
        edited = nn.with_matrices(params, checkpoint, replaced, vectors)
        return nn.score(model, edited, rows, options.batch_size, head, mesh)

    def activations(visit: Visit, heads: bool) -> None:
        def run(size: int, most: int | None = None) -> None:
            data = list(batches(rows, size))[:most]

            def see(number: int, taps: Mapping[str, Array]) -> None:
                if most is None:  # else only: how many rows fit?
                    visit(data[number], number == len(data) - 1, taps)

            nn.stream(model, nn.reader(checkpoint, model), data, lambda *_: None, head if heads else None, see)

        nn.with_memory_advice(run, options.batch_size, lambda size: run(size, 1))

    description = {"measure": MEASURES[head], **describe_rows(rows, options), "param_dtype": options.param_dtype}
    return Measure(description, evaluate, activations)


def _head(model: nn.Model, measure: str, source: str) -> str:
    """The head behind a measure; for "auto" the model's default one."""
    heads = {name: head for head, name in MEASURES.items()}
    head = model.head("default" if measure == "auto" else heads[measure])
    if head not in MEASURES:
        raise RunError(
            f"{source}: the model has no head that predicts anything (no language model, no masked language model, no "
            "classifier), so there is no loss to measure; take a checkpoint that has one"
        )
    return head
