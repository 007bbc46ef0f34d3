"""The models that a slicing study measures: narrower ones, and those at low rank with as many parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.run.options import LARGEST, option
from eigensweep.engine.run.stream import decomposed
from eigensweep.engine.spectral import covariance, stream_axes
from eigensweep.engine.spectral.stream_axes import FACTORS
from eigensweep.engine.studies.ablation.passes import measured
from eigensweep.engine.studies.edited_model import MeasureFields, Opened, open_measure
from eigensweep.engine.studies.stream_covariances import CalibrationFields, calibration_rows_for, stream_covariances
from eigensweep.models import Checkpoint, data, nn, slicing
from eigensweep.models.export import write_parameters
from eigensweep.models.params import nest

BASELINE, COVARIANCE, RANDOM, SINGULAR = "baseline", "covariance", "random", "singular values"


@dataclass(frozen=True)
class SliceOptions(CalibrationFields, MeasureFields):
    """Options of a slicing study; equal options, checkpoint and data give equal tables."""

    COMMAND: ClassVar[str] = "slice"

    keep: tuple[int, ...] = option((100, 90, 80, 70, 60, 50), "per cent of the stream's width to keep")
    gain: str = option(
        "energy", "of norms that read less: times sqrt(kept energy), sqrt(d'/d), or as it is", choices=FACTORS
    )
    num_draws: int = option(2, "draws of random directions", least=1)
    num_resamples: int = option(2000, "of the bootstrap", least=1)
    confidence: float = option(0.95, "of the bootstrap intervals", inside=(0, 1))
    seed: int = option(0, "of random directions and resamples", least=0, most=LARGEST)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.keep or not all(0 < share <= 100 for share in self.keep):
            raise ValueError(f"keep is {self.keep}; expected per cents from 1 to 100")
        if self.stream or self.devices > 1:
            raise ValueError("slicing has the whole model in memory: it takes neither stream nor devices")


@dataclass(frozen=True)
class Member:
    """One model that is measured."""

    method: str
    width: int
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.width}" + (f" draw {self.draw}" if self.draw else "")


def open_slicer(checkpoint: Checkpoint, options: SliceOptions) -> "Slicer":
    """The model, the rows it is measured on, and those that the covariance is taken of.

    Raises:
      RunError, CheckpointError, DataError: see `run_slicing`.
    """
    slicing.check_sliceable(nn.model_of(checkpoint, options.dtype).architecture)
    measure = open_measure(checkpoint, options, options.seed)
    opened = measure.opened
    assert opened is not None
    rows = calibration_rows_for(checkpoint, opened.model, opened.params, options, options.seed, opened.head)
    return Slicer(opened, measure.evaluate, measure.description, rows, options)


@dataclass
class Slicer:
    """Makes the narrower models, and those without singular values."""

    opened: Opened
    evaluate: Any
    description: Mapping[str, Any]
    calibration: data.Rows
    options: SliceOptions

    @property
    def widths(self) -> tuple[int, ...]:
        """d' of every share that is to be kept."""
        shares = [percent / 100 for percent in self.options.keep]
        return slicing.sliced_widths(self.opened.model.architecture, shares)

    @cached_property
    def covariances(self) -> list[np.ndarray]:
        """F of every norm, in the order of `nn.stream_norms`."""
        model, params = self.opened.model, self.opened.params
        read = nn.reader_of(params, model)
        found = stream_covariances(model, read, self.calibration, self.opened.batch_size)
        return [found[place] for place in sorted(found)]

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors (rows) of the mean of F over norms."""
        return covariance.eigenvectors(np.mean(self.covariances, axis=0))

    def basis(self, member: Member) -> np.ndarray:
        """Q (d, d')."""
        if member.method == COVARIANCE:
            return self.axes[1][: member.width].T
        key = purpose_key(self.options.seed, "slicing", str(member))
        return stream_axes.random_basis(self.opened.model.architecture.width, member.width, key)

    def sliced(self, member: Member) -> tuple[dict[str, Any], nn.Model, dict[str, np.ndarray], float]:
        """config.json, the model, its leaves by path, and the share of the signal that is kept."""
        arch, basis = self.opened.model.architecture, self.basis(member)
        kept = [min(1.0, stream_axes.energy(f, basis)) for f in self.covariances]
        gone = arch.width - member.width
        factors = [stream_axes.gain_factor(self.options.gain, 1 - share, arch.width, gone) for share in kept]
        config = slicing.sliced_config(self.opened.checkpoint.config or {}, arch, member.width)
        model, leaves = slicing.sliced(self.opened.model, self.opened.params, basis, config, factors)
        return config, model, leaves, float(np.mean(kept))

    def row(self, member: Member) -> dict[str, Any]:
        """A member's row of the tables, but for the changes."""
        opened, width = self.opened, self.opened.model.architecture.width
        about: dict[str, Any] = {
            "method": member.method,
            "width": member.width,
            "draw": member.draw,
            "share": member.width / width,
        }
        if member.method == SINGULAR:
            replaced, about["parameters"], about["energy"] = self._truncated(member.width / width)
            return about | measured(lambda: self.evaluate(replaced))
        if member.method == BASELINE:
            about |= {"parameters": self._count(), "energy": 1.0}
            return about | measured(lambda: self.evaluate({}))
        _, model, leaves, about["energy"] = self.sliced(member)
        about["parameters"] = sum(leaf.size for leaf in leaves.values())
        params, size = nn.place(nest(leaves)), opened.batch_size
        return about | measured(lambda: nn.score(model, params, opened.rows, size, "unembedding"))

    def write(self, width: int, out: str | Path) -> Path:
        """The checkpoint in Hugging Face layout, sliced to a width along the covariance's eigenvectors.

        Raises:
          CheckpointError: `out` cannot be written.
        """
        config, _, leaves, _ = self.sliced(Member(COVARIANCE, width))
        return write_parameters(config, leaves, out, self.opened.checkpoint.source.directory)

    def _count(self) -> int:
        """Numbers in the model; a tied table twice, as slicing unties it."""
        tied = self.opened.params["embedding"]["embedding"].size if self.opened.model.is_tied("unembedding") else 0
        return tied + sum(leaf.size for _, leaf in nn.walk(self.opened.params))

    def _truncated(self, share: float) -> tuple[dict[str, np.ndarray], int, float]:
        """The matrices of the forward pass at low rank, the numbers in the model, the share of |W|^2 that is kept."""
        read = {path for path, _ in nn.walk(self.opened.params)}
        paths = {m.name: m.path for m in self.opened.checkpoint.matrices if m.path in read}
        sources = [m for m in self.opened.checkpoint.matrices if m.name in paths]
        replaced, count = {}, self._count()
        kept = total = 0.0
        for source, found in decomposed(sources):
            m, n = source.shape
            rank = int(share * m * n / (m + n))
            u, s, vt = (np.asarray(part[0], np.float64) for part in (found.u, found.s, found.vt))
            replaced[source.name] = (u[:, :rank] * s[:rank]) @ vt[:rank]
            twice = 2 if paths[source.name].startswith("embedding/") and self.opened.model.is_tied("unembedding") else 1
            count -= twice * (m * n - rank * (m + n))
            kept, total = kept + float(np.sum(s[:rank] ** 2)), total + float(np.sum(s**2))
        return replaced, count, kept / total


def members_of(slicer: Slicer) -> list[Member]:
    """In the order of the work. At the full width a rotation alone is measured; nothing stands beside it."""
    width, draws = slicer.opened.model.architecture.width, range(slicer.options.num_draws)
    beside = [
        [*(Member(RANDOM, w, draw) for draw in draws), Member(SINGULAR, w)] if w < width else [] for w in slicer.widths
    ]
    sliced = [[Member(COVARIANCE, w), *others] for w, others in zip(slicer.widths, beside, strict=True)]
    return [Member(BASELINE, width), *(member for group in sliced for member in group)]
