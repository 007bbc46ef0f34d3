"""The facts study: what weights, activations and gradients of a model look like, and its outlier dimensions."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jax import Array

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.studies.data import describe_rows
from eigensweep.engine.studies.facts import depth
from eigensweep.engine.studies.facts.ablations import ablation_row, ablations
from eigensweep.engine.studies.facts.activations import Taps
from eigensweep.engine.studies.facts.gradients import gradient_rows
from eigensweep.engine.studies.facts.options import FactsOptions
from eigensweep.engine.studies.facts.outliers import means_of, outlier_rows, overlap_rows
from eigensweep.engine.studies.facts.subject import Subject, opened
from eigensweep.engine.studies.facts.tables import LAYOUT
from eigensweep.engine.studies.facts.weights import kind_of, weight_rows, weight_units
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.parts import Work
from eigensweep.engine.tables.result import Result, frame_of
from eigensweep.models import Checkpoint, data, nn

DIMENSIONS, GRADIENTS = "dimensions", "gradients"


class Facts(Result):
    """A finished facts study."""

    layout: ClassVar = LAYOUT
    options: ClassVar[type[FactsOptions]] = FactsOptions

    distributions = frame_of("distributions", "One row a tensor, tap or gradient: moments, histogram, fitted shapes.")
    dimensions = frame_of("dimensions", "One row a dimension of the residual stream and tap.")
    outliers = frame_of("outlier_dimensions", "One row an outlier dimension, the largest first.")
    overlaps = frame_of("dimension_overlaps", "Outlier dimensions of two taps, of two halves of the text, of gains.")
    ablations = frame_of("dimension_ablations", "The loss without outlier dimensions, and without random ones.")
    norms = frame_of("norms", "One row a matrix: its norms, with and without the gain of the norm beside it.")
    ranks = frame_of("ranks", "One row a spectrum: its rank plot, with the values.")
    pooled_ranks = frame_of("pooled_ranks", "Rank plots of blocks of one kind together, with intervals.")
    covariances = frame_of("stream_covariances", "One row a place in the stream: eigenvalues of its covariance.")
    directions = frame_of("stream_directions", "Excess kurtosis along dimensions, random and principal directions.")
    cosines = frame_of("stream_cosines", "Mean cosine of a token's stream at two places.")
    sample = frame_of("stream_sample", "The stream of the first row's first tokens.")
    dataset = frame_of("dataset_covariance", "Covariance of the data's tokens, and of the same tokens shuffled.")


open_facts = Facts.read


def run_facts(
    checkpoint: Checkpoint, options: FactsOptions, workdir: str | Path, on_progress: OnProgress = silent
) -> Facts:
    """The facts study of a checkpoint.

    Raises:
      RunError: `workdir` holds another study, is in use, or cannot be written; the options or the data do not serve.
      DeviceMemoryError: with the batch size that would fit.
    """
    subject = opened(checkpoint, options)
    identity: dict[str, Any] = {"checkpoint": checkpoint.identity, "options": options.to_json()}
    if subject.rows is not None:
        identity["data"] = describe_rows(subject.rows, options)
        identity["sequences_sha256"] = hashlib.sha256(np.ascontiguousarray(subject.sequences).tobytes()).hexdigest()

    def run_all(batch_size: int, most: int | None = None) -> None:
        batches = [] if subject.rows is None else list(data.batches(subject.rows, batch_size))[:most]
        if most is not None:  # how many rows fit? nothing is written
            _pass(subject, batches, lambda number, taps: None)
            return
        with claimed(workdir, LAYOUT, identity, {"warnings": subject.left_out}) as work:
            if not work.done:
                _Study(subject, work, batches, on_progress).run()

    nn.with_memory_advice(run_all, options.batch_size, lambda size: run_all(size, 1))
    return open_facts(workdir)


def _pass(subject: Subject, batches: list[data.Rows], visit: nn.Visit) -> None:
    """Every tap of every batch, block by block."""
    assert subject.model is not None
    read = nn.reader(subject.checkpoint, subject.model)
    nn.stream(subject.model, read, batches, lambda *_: None, subject.head, visit=visit, taps=nn.TAPPED)


@dataclass
class _Study:
    """The units of work, in order; each is written when it is done."""

    subject: Subject
    work: Work
    batches: list[data.Rows]
    on_progress: OnProgress
    units: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    began: float = 0.0

    def run(self) -> None:
        """All units that are not finished, and the tables."""
        weights, matrices = weight_units(self.subject.checkpoint), depth.matrix_units(self.subject.checkpoint)
        taps = [] if self.subject.model is None else [*self._blocks(), "taps/outside"]
        gradients = [GRADIENTS] if self.subject.gradient else []
        of_data = [depth.STREAM, depth.DATASET] if taps else []
        outliers = [DIMENSIONS] if taps else []
        self._begin([*weights, *matrices, *taps, *of_data, depth.POOLED, *gradients, *outliers])
        for unit, tensors in weights.items():
            if unit in self.todo:
                self.write(unit, {"distributions": weight_rows(tensors)})
        for unit, of in matrices.items():
            if unit in self.todo:
                self.write(unit, depth.norm_rows(self.subject.checkpoint, of))
        self._activations(taps)
        self._ranks([*matrices, *of_data])
        if GRADIENTS in self.todo:
            self.write(GRADIENTS, {"distributions": self._gradients()})
        if taps:
            self._dimensions(taps)
        tokens = int(sum(batch.attention_mask.sum() for batch in self.batches))
        self.work.finish(self.units, num_tokens=tokens)

    def _begin(self, units: list[str]) -> None:
        """These units come next, behind those that there are."""
        self.units = [*self.units, *units]
        self.todo, self.began = self.work.todo(self.units), time.perf_counter()

    def _activations(self, taps: list[str]) -> None:
        if wanted := [unit for unit in (*taps, depth.STREAM) if unit in self.todo]:
            _pass(self.subject, self.batches, self._visit(wanted))
        for unit in [unit for unit in taps if unit in self.todo]:  # a model without a head has no taps there
            self.write(unit, {})

    def _ranks(self, units: list[str]) -> None:
        """The data's covariance, and the rank plots of these units together."""
        if depth.DATASET in self.todo:
            assert self.subject.sequences is not None
            self.write(depth.DATASET, depth.dataset_rows(self.subject.sequences, self.subject.options))
        if depth.POOLED in self.todo:
            rows = [row for unit in units for row in self.work.read(unit)["ranks"]]
            self.write(depth.POOLED, depth.pooled(rows, self.subject.options.seed))

    def _gradients(self) -> list[dict[str, Any]]:
        subject = self.subject
        assert subject.gradient is not None
        assert subject.model is not None
        assert subject.gradient_rows is not None
        rows, stream = subject.gradient_rows, subject.options.gradient_stream
        return gradient_rows(subject.gradient, subject.model, subject.params, rows, stream)

    def _dimensions(self, taps: list[str]) -> None:
        """Outlier dimensions, where they recur, and what the loss is without them."""
        rows = [row for unit in taps for row in self.work.read(unit)["dimensions"]]
        if DIMENSIONS in self.todo:
            gains = self._gains()
            found = {"outlier_dimensions": outlier_rows(rows, gains), "dimension_overlaps": overlap_rows(rows, gains)}
            self.write(DIMENSIONS, found)
        options, model = self.subject.options, self.subject.model
        outliers = [row["dim"] for row in self.work.read(DIMENSIONS)["outlier_dimensions"]]
        if not (options.ablations and outliers and self.subject.head and model):
            return
        wanted = ablations(outliers, model.architecture.width, options.ablations, options.seed)
        means = means_of(rows) if options.ablate == "mean" else None
        self._begin([f"ablation/{one.name}" for one in wanted])
        baseline = None
        for one in wanted:
            unit = f"ablation/{one.name}"
            if unit in self.todo:
                settings = (means, options.seed, options.num_resamples)
                row = ablation_row(one, model, self.subject.scores, baseline, *settings)
                self.write(unit, {"dimension_ablations": [row]})
            if baseline is None:
                (baseline,) = self.work.read(unit)["dimension_ablations"]

    def write(self, unit: str, rows: dict[str, list[dict[str, Any]]]) -> None:
        """A finished unit."""
        now = time.perf_counter()
        self.work.write({unit: rows}, {"total": now - self.began})
        self.began = now
        self.todo.remove(unit)
        done = len(self.units) - len(self.todo)
        self.on_progress(Progress(done, len(self.units), done, len(self.units), f"behind {unit}", "facts"))

    def _visit(self, wanted: list[str]) -> nn.Visit:
        """What sees every tap, for these units."""
        subject, model = self.subject, self.subject.model
        assert model is not None
        taps = Taps(self.batches, model.architecture.num_blocks, wanted, self.write)
        if depth.STREAM not in wanted:
            return taps.visit
        stream = depth.visitor(subject.checkpoint, model, self.batches, subject.options, self.write)

        def visit(number: int, found: Mapping[str, Array]) -> None:
            taps.visit(number, found)
            stream.visit(number, found)

        return visit

    def _blocks(self) -> list[str]:
        assert self.subject.model is not None
        return [f"taps/blocks/{i}" for i in range(self.subject.model.architecture.num_blocks)]

    def _gains(self) -> dict[str, np.ndarray]:
        """Gains of the norms of the residual stream, by path."""
        assert self.subject.model is not None
        shape = (self.subject.model.architecture.width,)
        leaves = self.subject.checkpoint.leaves
        return {leaf.path: leaf.read() for leaf in leaves if kind_of(leaf.path) == "norm" and leaf.shape == shape}
