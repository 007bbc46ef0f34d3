"""The covariances of what norms read, from rows that nothing is measured on."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from eigensweep.engine.spectral import covariance
from eigensweep.engine.spectral.covariance import Moments
from eigensweep.engine.studies.data import TextFields, describe_rows, rows_for, uncounted
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint, data, nn


@dataclass(frozen=True)
class CalibrationFields(TextFields):
    """Where covariances come from."""

    calibration: str = uncounted("", "file for covariances of the stream; by default the rest of the data")
    calibration_rows: int = uncounted(256, "rows for covariances of the stream, evenly spaced", least=1)


def calibration_part(options: CalibrationFields) -> CalibrationFields:
    """The options of the rows that covariances come from: another file, or the larger part that is left of the data.

    Raises:
      RunError: nothing is left.
    """
    part: dict[str, Any] = {}  # sampled: another seed writes other text
    if options.calibration:
        part = {"data": options.calibration, "data_from": 0.0, "data_to": 1.0}
    elif options.format == "sampled":
        pass
    elif max(options.data_from, 1 - options.data_to) <= 0:
        raise RunError(
            "covariances of the stream need text that the model is not measured on: leave a part of the data over "
            "(--config.data_from=0.5), or name another file (--config.calibration=FILE)"
        )
    elif options.data_from >= 1 - options.data_to:
        part = {"data_from": 0.0, "data_to": options.data_from}
    else:
        part = {"data_from": options.data_to, "data_to": 1.0}
    return replace(options, max_rows=options.calibration_rows, **part)


def calibration_rows_for(
    checkpoint: Checkpoint, model: nn.Model, params: Any, options: CalibrationFields, seed: int, head: str | None
) -> data.Rows:
    """The rows themselves; `params` as of `rows_for`.

    Raises:
      RunError, DataError: nothing is left, or it does not serve.
    """
    return rows_for(checkpoint, model, params, calibration_part(options), seed + 1, head, "evenly")


def describe_calibration(options: CalibrationFields, rows: data.Rows) -> dict[str, Any]:
    """What tells these rows from others, for a manifest; and in a few words where they come from."""
    part = calibration_part(options)
    tokens = f"{int(rows.attention_mask.sum())} tokens in {len(rows.row)} rows"
    where = f"from {100 * part.data_from:g} % to {100 * part.data_to:g} % of {Path(part.data).name}"
    if options.format == "sampled":
        where = "that the model wrote with another seed"
    return {**describe_rows(rows, part), "said": f"{tokens} {where}"}


def stream_covariances(model: nn.Model, read: Any, rows: data.Rows, batch_size: int) -> dict[int, np.ndarray]:
    """F = d mean x x^T/|x|^2 (d, d) of what enters each norm that reads the stream, by its number; one pass.

    One part of the parameters is on the device at a time, and the sums of one block.

    Args:
      model: without LayerNorms (`nn.rms_model`).
      read: its parts, see `nn.reader`.

    Raises:
      RunError: entries that are not finite. CheckpointError: norms that do not read the stream.
    """
    arch, batches = model.architecture, list(data.batches(rows, batch_size))
    names = nn.stream_norms(arch)
    sums: dict[int, Moments] = {}
    found: dict[int, np.ndarray] = {}

    def visit(number: int, taps: dict[str, Array]) -> None:
        blocks = {path.split("/")[1] for path in taps if path.startswith("blocks/")}
        for block in map(int, blocks):  # one, or none
            inner = {path.removeprefix(f"blocks/{block}/"): x for path, x in taps.items()}
            for place, x in nn.norm_inputs(arch, block, inner).items():
                moments = sums.pop(place, None) or covariance.zero(arch.width)
                sums[place] = covariance.accumulate(moments, _normed(x), batches[number].attention_mask)
                if number == len(batches) - 1:
                    found[place] = np.asarray(covariance.covariance(sums.pop(place)))

    nn.stream(model, read, batches, lambda *_: None, None, visit, nn.NORM_TAPS)
    for place, f in found.items():
        if not np.isfinite(f).all():
            raise RunError(f"{names[place]}: what enters it is not finite, so the stream has no covariance there")
    return found


def _normed(x: Array) -> Array:
    """x / rms(x), float32; a token of zeros stays one."""
    x = x.astype(jnp.float32)
    square = jnp.mean(jnp.square(x), -1, keepdims=True)
    return x * jnp.where(square > 0, jnp.asarray(square, jnp.float32) ** -0.5, 0.0)
