"""Slicing: a model whose residual stream is narrower, what that costs, and what else costs as many parameters.

    covariance        the stream's leading eigenvectors are kept: engine.spectral.stream_axes, models.slicing
    random            as many random directions are kept
    singular values   every matrix (m, n) that slicing makes smaller loses its smallest singular values, until two thin
                      factors of what is left have as many parameters as its slice: rank floor(d'/d * m n/(m + n))

All are measured on the same rows. The covariance is the mean over the norms that read the stream of F, which is taken
from rows that nothing is measured on; for the sliced models the gain of every norm gets the factor of the share of the
signal that it has lost.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.studies.ablation.passes import changes
from eigensweep.engine.studies.slicing.slicer import (
    BASELINE,
    COVARIANCE,
    SINGULAR,
    Member,
    SliceOptions,
    Slicer,
    members_of,
    open_slicer,
)
from eigensweep.engine.studies.slicing.tables import LAYOUT, MEMBER, ROWS
from eigensweep.engine.studies.stream_covariances import describe_calibration
from eigensweep.engine.tables.check import check_lengths, check_same_rows
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.parts import Work
from eigensweep.engine.tables.result import Result, frame_of
from eigensweep.models import Checkpoint


class Slicing(Result):
    """A finished slicing study."""

    layout: ClassVar[Layout] = LAYOUT
    options: ClassVar[type[SliceOptions]] = SliceOptions

    def contrast(self, width: int) -> tuple[float, float, float]:
        """Loss sliced along the covariance's eigenvectors less that without singular values, nats, with its interval.

        Raises:
          KeyError: the study has no such width, or nothing beside it.
        """
        rows = {(row.method, row.width): row for row in self.rows.itertuples()}
        ours, theirs, options = rows[COVARIANCE, width], rows[SINGULAR, width], self.manifest["options"]
        difference = np.subtract(ours.row_loss, theirs.row_loss)
        return paired_interval(
            difference, ours.row_weight, options["seed"], options["num_resamples"], options["confidence"]
        )

    def check(self, directory: Path) -> None:
        """Every member has its rows of data, as many as the baseline, which is there."""
        members, rows = self.tables["slicing"], self.tables["slicing_rows"]
        path = directory / "slicing_rows.parquet"
        check_same_rows(path, rows, members, tuple(MEMBER))
        if BASELINE not in members["method"].to_pylist():
            raise RunError(f"{directory / 'slicing.parquet'}: is damaged: it has no baseline")
        lists = [name for name in ROWS if name not in MEMBER]
        check_lengths(path, rows, lists, [len(rows["row_loss"][0])] * rows.num_rows)

    results = frame_of("slicing", "One row a method, width and draw, the baseline first.")
    rows = frame_of("slicing_rows", "The same with losses, weights, hits and counts by row of the data.")
    axes = frame_of("slicing_axes", "Eigenvalues of the stream's covariance.")


open_slicing = Slicing.read


def run_slicing(
    checkpoint: Checkpoint, options: SliceOptions, workdir: str | Path, on_progress: OnProgress = silent
) -> Slicing:
    """Measure the model sliced to every width, and what stands beside that.

    Raises:
      RunError, CheckpointError, DataError: an architecture that cannot be sliced, no calibration text, a `workdir` that
        does not serve.
    """
    return measure_slices(open_slicer(checkpoint, options), workdir, on_progress)


def measure_slices(slicer: Slicer, workdir: str | Path, on_progress: OnProgress = silent) -> Slicing:
    """`run_slicing` of a model that is open already.

    Raises:
      RunError: a `workdir` that does not serve.
    """
    checkpoint, options = slicer.opened.checkpoint, slicer.options
    evaluation = {**slicer.description, "calibration": describe_calibration(options, slicer.calibration)}
    identity = {"checkpoint": checkpoint.identity, "options": options.to_json(), "evaluation": evaluation}
    with claimed(workdir, LAYOUT, identity, {"warnings": list(checkpoint.warnings)}) as work:
        if not work.done:
            _run(work, slicer, on_progress)
    return open_slicing(workdir)


def _run(work: Work, slicer: Slicer, on_progress: OnProgress) -> None:
    members = members_of(slicer)
    names = [str(member) for member in members]
    todo = set(work.todo(names))
    for done, (member, rows) in enumerate(_rows(work, slicer, members, todo), 1):
        start = time.perf_counter()
        work.write({str(member): rows}, {"total": rows["slicing"][0]["seconds"] + time.perf_counter() - start})
        on_progress(Progress(done, len(todo), done, len(todo), f"{member}", "sliced"))
    work.finish(names)


def _rows(
    work: Work, slicer: Slicer, members: list[Member], todo: set[str]
) -> Iterator[tuple[Member, dict[str, list[dict[str, Any]]]]]:
    """Every member still to do with its rows of the tables."""
    options = slicer.options.to_json()
    baseline: Mapping[str, Any] = {}
    for member in members:
        if str(member) not in todo:
            if member.method == BASELINE:
                stored = work.read(str(member))
                baseline = {key: value for rows in stored.values() for row in rows for key, value in row.items()}
            continue
        row = slicer.row(member)
        tables: dict[str, list[dict[str, Any]]] = {"slicing_axes": []}
        if member.method == BASELINE:
            if not np.isfinite(row["loss"]):
                raise RunError(f"the model's loss is {row['loss']}: there is nothing to measure changes by")
            baseline = row
            tables["slicing_axes"] = [{"index": i, "eval": value} for i, value in enumerate(slicer.axes[0])]
        full = [row | changes(row, baseline, options)]
        yield member, tables | {"slicing": full, "slicing_rows": full}
