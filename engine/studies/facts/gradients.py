"""Distributions of the loss's gradient for single rows, in the weights and, on request, in the residual stream."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from eigensweep.engine.run.memory import GIB, whole_memory
from eigensweep.engine.spectral.distribution import Distribution
from eigensweep.engine.studies.facts.described import row_of
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint, data, nn
from eigensweep.models.params import nest

Gradient = Callable[[Any, data.Rows, Any], tuple[Any, Any]]
"""(parameters, one row, the stream's offset) -> the loss's derivatives in the parameters and in the offset."""


def chosen_rows(rows: data.Rows, number: int) -> data.Rows:
    """Evenly spaced ones of those that have something to predict, at most `number`."""
    predicting = np.flatnonzero((rows.targets != data.IGNORE).reshape(len(rows.row), -1).any(axis=1))
    return rows.take(predicting[np.unique(np.linspace(0, len(predicting) - 1, number).astype(int))])


def compiled_gradient(checkpoint: Checkpoint, model: nn.Model, row: data.Rows, head: str, stream: bool) -> Gradient:
    """The gradient of the mean loss of one row, compiled; nothing is read yet.

    Raises:
      RunError: it needs more memory than there is.
    """

    def loss(params: Any, offset: Any, batch: data.Rows) -> Any:
        change = None if offset is None else nn.Intervention(offset=offset)
        total, count, _ = nn.row_losses(model, params, batch, head, intervention=change)
        return total.sum() / count.sum()

    dtypes = {leaf.path: leaf.dtype for leaf in checkpoint.leaves}
    shapes = {path: jax.ShapeDtypeStruct(leaf.shape, dtypes[path]) for path, leaf in nn.walk(model.abstract())}
    params, offset = nest(shapes), zeros_in_stream(model, row) if stream else None
    gradient = jax.jit(lambda p, b, o: jax.grad(loss, argnums=(0, 1) if stream else 0)(p, o, b))
    compiled = gradient.lower(params, row, offset).compile()
    size: Any = compiled.memory_analysis()
    needed = size.temp_size_in_bytes + size.output_size_in_bytes + size.argument_size_in_bytes
    if needed > (there := whole_memory()):
        raise RunError(
            f"gradients: one row of {row.input_ids.shape[1]} tokens needs {needed / GIB:.1f} GiB, and there are "
            f"{there / GIB:.1f}: take shorter rows (length), or none (--config.gradients=0)"
        )
    return partial(_split, compiled, stream)


def _split(compiled: Any, stream: bool, params: Any, row: data.Rows, offset: Any) -> tuple[Any, Any]:
    found = compiled(params, row, offset)
    return found if stream else (found, None)


def zeros_in_stream(model: nn.Model, row: data.Rows) -> np.ndarray:
    """What is added to the stream of one row at every position: nothing."""
    arch = model.architecture
    return np.zeros((2 * arch.num_blocks + 1, *row.input_ids.shape, arch.width), np.float32)


def gradient_rows(gradient: Gradient, model: nn.Model, params: Any, rows: data.Rows, stream: bool) -> list[dict]:
    """A row a tensor: the entries of its gradients for all rows together. What no gradient reaches is left out."""
    found: dict[str, Distribution] = {}
    for index in range(len(rows.row)):
        row = rows.take(np.array([index]))
        in_params, in_stream = gradient(params, row, zeros_in_stream(model, row) if stream else None)
        named = dict(nn.walk(in_params))
        if in_stream is not None:
            seen = np.asarray(in_stream)[:, row.attention_mask]
            named |= {name: seen[i] for i, name in enumerate(positions(model))}
        for name, value in named.items():
            one = Distribution.of(np.asarray(value))
            found[name] = found[name].merged(one) if name in found else one
    reached = {name: one for name, one in found.items() if one.all.low < 0 or one.all.high > 0}
    return [row_of("gradient", name, one) for name, one in reached.items()]


def positions(model: nn.Model) -> list[str]:
    """The taps at the positions of an intervention, in their order."""
    last = model.architecture.num_blocks - 1
    inner = [f"blocks/{i}/stream/{where}" for i in range(last + 1) for where in ("before", "middle")]
    return [*inner, f"blocks/{last}/stream/after"]
