"""Directions of the residual stream taken out of what every norm reads: eigenvectors of its covariance, random ones.

    covariance:decile:3   the third tenth of the eigenvectors, by descending eigenvalue; covariance:decile: all ten
    covariance:random:2   as many random directions; 2 numbers the draw, 0 if absent

x -> P x before each norm, P = I - Q Q^T with the norm's own Q (d, k), and the norm's gain times `gain_factor`: see
engine.spectral.stream_axes. Of a model with LayerNorms that is done to the same model with RMSNorms (nn.rms_model). In
pre-norm models the stream itself goes by unchanged, so that no norm loses more than its own tenth; in post-norm models
the stream is what the norm reads, and the next norm's projection takes from what this one left.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.spectral import covariance, deciles, stream_axes
from eigensweep.engine.spectral.removal import Removal
from eigensweep.engine.studies.edited_model import Opened
from eigensweep.engine.studies.stream_covariances import calibration_rows_for, stream_covariances
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import data, nn

KIND, SCOPE = "covariance", "stream"
_NUMBERS = range(1, deciles.NUM_DECILES + 1)


def split(texts: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The texts of removals from matrices, and of those from the stream."""
    texts = tuple(text.strip() for text in texts)
    mine = tuple(text for text in texts if text.split(":")[0] == KIND)
    return tuple(text for text in texts if text not in mine), mine


def expand(texts: Iterable[str], num_draws: int = 1) -> tuple[Removal, ...]:
    """Removals from texts, each once; without a number all deciles, or `num_draws` draws.

    Raises:
      ValueError: a text is none of the forms.

    >>> [str(taken) for taken in expand(["covariance:decile:3", "covariance:random"], 2)]
    ['covariance:decile:3', 'covariance:random', 'covariance:random:1']
    """
    removals: list[Removal] = []
    for text in texts:
        _, which, number = (*text.split(":", 2), "", "")[:3]
        if which == "decile" and (number == "" or number in map(str, _NUMBERS)):
            removals += [Removal(KIND, f"decile:{k}") for k in _NUMBERS if number in ("", str(k))]
        elif which == "random" and (number == "" or (number.isascii() and number.isdigit())):
            draws = [int(number)] if number else range(num_draws)
            removals += [Removal(KIND, "random", draw) for draw in draws]
        else:
            raise ValueError(
                f"removal {text!r}: expected covariance:decile, covariance:decile:1 to covariance:decile:10, "
                "covariance:random or covariance:random:2"
            )
    return tuple(dict.fromkeys(removals))


def kind_of(taken: Removal) -> str:
    """The word in the table's column `kind`."""
    return f"{KIND} {taken.which.partition(':')[0]}"


@dataclass
class StreamProjection:
    """A model whose norms are to read less; see `stream_projection`.

    Attributes:
      model: without LayerNorms.
      read: gives its parts.
      params: the whole tree; None: it is read part by part.
      calibration: the rows that covariances are taken of.
      batch_size: of every forward pass.
      factor: one of `stream_axes.FACTORS`.
      seed: of the random directions.
    """

    model: nn.Model
    read: Any
    params: Mapping[str, Any] | None
    calibration: data.Rows
    batch_size: int
    factor: str
    seed: int

    @cached_property
    def _covariances(self) -> dict[int, np.ndarray]:
        return stream_covariances(self.model, self.read, self.calibration, self.batch_size)

    @cached_property
    def _vectors(self) -> dict[int, np.ndarray]:
        return {place: covariance.eigenvectors(f)[1] for place, f in self._covariances.items()}

    def bases(self, taken: Removal) -> dict[int, np.ndarray]:
        """Q (d, k) of every norm, by its number."""
        which, _, number = taken.which.partition(":")
        if which == "decile":
            return {place: stream_axes.decile_basis(v, int(number)) for place, v in self._vectors.items()}
        width = self.model.architecture.width
        count = deciles.decile(1, width).size
        keys = {p: purpose_key(self.seed, "stream", str(taken), str(p)) for p in self._covariances}
        return {place: stream_axes.random_basis(width, count, key) for place, key in keys.items()}

    def change(self, taken: Removal) -> "Change":
        """What is done to the model, and the table's columns."""
        arch, bases = self.model.architecture, self.bases(taken)
        names = nn.stream_norms(arch)
        shares = {place: stream_axes.energy(self._covariances[place], q) for place, q in bases.items()}
        width, count = next(iter(bases.values())).shape
        stacked = np.zeros((2 * arch.num_blocks + 1, width, count), np.float32)  # encoders have no final norm
        for place, q in bases.items():
            stacked[place] = q
        factors = {
            names[place]: stream_axes.gain_factor(self.factor, share, width, count) for place, share in shares.items()
        }
        columns = {
            "kind": kind_of(taken), "draw": taken.draw, "matrices": 0, "values": len(bases) * width,
            "removed": len(bases) * count, "energy": float(np.mean(list(shares.values()))),
        }  # fmt: skip
        return Change(nn.Intervention(norms=jnp.asarray(stacked)), factors, columns)

    def scores(self, opened: Opened, change: "Change") -> nn.Scores:
        """Of all rows that `opened` has."""
        if self.params is None:
            read = nn.gains_reader(self.model, self.read, change.factors)
            batches = data.batches(opened.rows, self.batch_size)
            return nn.stream_score(self.model, read, batches, opened.head, change.intervention)
        params = nn.with_gains(self.model, dict(self.params), change.factors)
        return nn.score(self.model, params, opened.rows, self.batch_size, opened.head, opened.mesh, change.intervention)


class Change(NamedTuple):
    """What a removal from the stream does: a projection, gains' factors by their norms' paths; and its columns."""

    intervention: nn.Intervention
    factors: dict[str, float]
    columns: dict[str, Any]


def opened(measured: Opened | None, options: Any) -> StreamProjection:
    """For a model that is measured, with covariances from rows that it is not measured on.

    Args:
      options: of the study, see `AblationOptions`.

    Raises:
      RunError, DataError: there is no such text. CheckpointError: norms that do not read the stream.
    """
    if measured is None:
        raise RunError("removals from the stream need the model itself, and not its scores alone")
    nn.stream_norms(measured.model.architecture)
    checkpoint, model, params = measured.checkpoint, measured.model, measured.params
    rows = calibration_rows_for(checkpoint, model, params, options, options.seed, measured.head)
    read = nn.reader(checkpoint, model) if params is None else None
    size = measured.batch_size
    return stream_projection(model, params, read, rows, batch_size=size, factor=options.gain, seed=options.seed)


def stream_projection(
    model: nn.Model, params: Mapping[str, Any] | None, read: Any, calibration: data.Rows, *, batch_size: int,
    factor: str, seed: int,
) -> StreamProjection:  # fmt: skip
    """Of a model as it was loaded: its LayerNorms become RMSNorms first.

    Args:
      params: its tree; None: it is read part by part, by `read` (nn.reader).
    """
    whole = None if params is None else nn.rms_parameters(model, params)
    rms = nn.rms_model(model)
    parts = nn.rms_reader(model, read) if whole is None else nn.reader_of(whole, rms)
    return StreamProjection(rms, parts, whole, calibration, batch_size, factor, seed)
