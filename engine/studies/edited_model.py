"""The loss of a model with some of its matrices replaced: what removal studies measure by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from eigensweep.engine.run.memory import default_budget
from eigensweep.engine.studies.data import TextFields, describe_rows, rows_for, uncounted
from eigensweep.engine.studies.devices import mesh_of
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint, nn
from eigensweep.models.data import Rows, batches

STORED = "stored"
Visit = Callable[[Rows, bool, Mapping[str, Array]], None]
MEASURES = {"unembedding": "perplexity", "mlm": "masked", "classifier": "accuracy"}


@dataclass(frozen=True)
class MeasureFields(TextFields):
    """How a model is measured."""

    measure: str = uncounted(
        "auto", "by the model's head, or perplexity, masked, accuracy", choices=("auto", *MEASURES.values())
    )
    param_dtype: str = uncounted(
        "",
        "of the parameters; by default as stored, wider than that on accelerators bfloat16",
        choices=("", STORED, "float32", "bfloat16", "float16"),
    )
    stream: bool = uncounted(False, "one block on the device at a time, read anew in every pass: for models beyond it")


@dataclass(frozen=True)
class Measure:
    """A model, the rows that it is measured on, and the head that is.

    Attributes:
      description: JSON-able; tells one measurement from another.
      evaluate: the scores (`eigensweep.models.nn.Scores`) with matrices W (m, n), by name, in place of the model's own,
        and with vectors, by the paths of their leaves.
      together: the scores with each of several such mappings, in one pass over the model; None where that cannot be.
      stream_bytes: what a pass holds of each of them, the residual stream of all rows.
      activations: pass the same rows through the model as it is, block by block: calls its first argument with every
        batch, whether it is the last, and what enters the linear layers of one block, by tap (of the head too, where
        its second argument says so); None where there is no model.
      opened: what it evaluates, for changes of other kinds.
    """

    description: dict[str, Any]
    evaluate: Callable[..., nn.Scores]
    together: Callable[[Sequence[Mapping[str, np.ndarray]]], list[nn.Scores]] | None = None
    stream_bytes: int = 0
    activations: Callable[[Visit, bool], None] | None = None
    opened: "Opened | None" = None


@dataclass(frozen=True)
class Opened:
    """What a measure evaluates.

    Attributes:
      params: None where the model is read part by part.
      batch_size: rows of a forward pass.
      mesh: where the parameters and the rows of a batch lie; None: on one device.
    """

    checkpoint: Checkpoint
    model: nn.Model
    params: Any
    rows: Rows
    batch_size: int
    head: str
    mesh: Any


def open_measure(checkpoint: Checkpoint, options: MeasureFields, seed: int) -> Measure:
    """Load the model and the data that options name.

    Raises:
      RunError: the options ask for what is not there; CheckpointError and DataError say what is wrong with the input.
    """
    model = nn.model_of(checkpoint, options.dtype)
    head = head_of(model, options.measure, checkpoint.identity["source"])
    mesh = checked_mesh(options)
    param_dtype = param_dtype_of(checkpoint, options.param_dtype)
    params = None
    if not options.stream:
        params = nn.load(checkpoint, options.dtype, mesh, param_dtype or None)[1]
    rows = rows_for(checkpoint, model, params, options, seed, head, "evenly")
    batch_size = rows_at_once(model, rows.input_ids.shape[1], options.batch_size, options.devices)

    def together(variants: Sequence[Mapping[str, np.ndarray]], vectors: Any = None) -> list[nn.Scores]:
        return nn.variant_scores(
            checkpoint, model, params, variants, rows, batch_size, head, vectors, mesh, param_dtype or None
        )

    def evaluate(replaced: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray] | None = None) -> nn.Scores:
        return together([replaced], vectors)[0]

    def activations(visit: Visit, heads: bool) -> None:
        def run(size: int, most: int | None = None) -> None:
            data = list(batches(rows, size))[:most]

            def see(number: int, taps: Mapping[str, Array]) -> None:
                if most is None:  # else only: how many rows fit?
                    visit(data[number], number == len(data) - 1, taps)

            nn.stream(model, nn.reader(checkpoint, model), data, lambda *_: None, head if heads else None, see)

        nn.with_memory_advice(run, batch_size, lambda size: run(size, 1))

    description = {"measure": MEASURES[head], **describe_rows(rows, options), "param_dtype": param_dtype}
    stream_bytes = rows.input_ids.size * model.architecture.width * jnp.dtype(options.dtype).itemsize
    opened = Opened(checkpoint, model, params, rows, batch_size, head, mesh)
    return Measure(description, evaluate, together, stream_bytes, activations, opened)


def checked_mesh(options: MeasureFields) -> Mesh | None:
    """The mesh of the options, see `mesh_of`.

    Raises:
      RunError: there are fewer devices; the options contradict one another.
    """
    if options.stream and (options.devices > 1 or options.format == "sampled"):
        raise RunError("stream goes with neither devices, nor format = sampled")
    return mesh_of(options.devices)


def param_dtype_of(checkpoint: Checkpoint, asked: str) -> str:
    """The dtype that parameters are cast to; "" for as they are stored."""
    wide = any(matrix.dtype in ("float32", "float64") for matrix in checkpoint.matrices)
    if asked == "" and wide and jax.default_backend() != "cpu":
        return "bfloat16"
    return "" if asked == STORED else asked


def rows_at_once(model: nn.Model, length: int, batch_size: int, devices: int = 1) -> int:
    """At most `batch_size`, as many as keep the activations of a block within the memory of a batch, a multiple of
    `devices`; at least one each."""
    fitting = default_budget() // row_bytes(model, length)
    return max(1, min(batch_size, fitting) // devices) * devices


def row_bytes(model: nn.Model, length: int) -> int:
    """Of the activations of one row of tokens in a block, float32: scores of attention, softmax, MLP and stream."""
    arch = model.architecture
    return 4 * length * (2 * arch.num_heads * length + 3 * arch.mlp_dim + 6 * arch.width)


def head_of(model: nn.Model, measure: str, source: str) -> str:
    """The head behind a measure; for "auto" the model's default one."""
    heads = {name: head for head, name in MEASURES.items()}
    head = model.head("default" if measure == "auto" else heads[measure])
    if head not in MEASURES:
        raise RunError(
            f"{source}: the model has no head that predicts anything (no language model, no masked language model, no "
            "classifier), so there is no loss to measure; take a checkpoint that has one"
        )
    return head
