"""A removal study: take chosen singular values out of chosen matrices, and measure what the model loses."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eigensweep.engine.run.factors import FOLDER
from eigensweep.engine.run.inputs import MatrixCollection, MatrixSource
from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.spectral.removal import LowRank, Removal
from eigensweep.engine.studies.ablation import columns, covariance, passes
from eigensweep.engine.studies.ablation.columns import ABLATION, OF_MATRIX, REMOVAL, ROWS
from eigensweep.engine.studies.ablation.controls import control_columns
from eigensweep.engine.studies.ablation.factors import Decompositions, Removed
from eigensweep.engine.studies.ablation.options import AblationOptions
from eigensweep.engine.studies.ablation.outputs import match_of, outputs_of
from eigensweep.engine.studies.ablation.scopes import Scopes, check_bands, resolve_scopes
from eigensweep.engine.studies.edited_model import Measure, open_measure
from eigensweep.engine.studies.factors import factor_folder, factor_store
from eigensweep.engine.studies.stream_covariances import describe_calibration
from eigensweep.engine.tables.check import KEYS, NEEDED, check_lengths, check_same_rows
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.matrices import IDENTITY, MATRICES, SPECTRA
from eigensweep.engine.tables.parts import Work
from eigensweep.engine.tables.result import MatrixResult, frame_of
from eigensweep.models import Checkpoint

NAME = "ablation"
BASELINE = ("", "baseline")
LAYOUT = Layout(
    NAME,
    {
        "ablation": ABLATION,
        "ablation_rows": ROWS,
        "matrices": {key: MATRICES[key] for key in (*IDENTITY, *OF_MATRIX)},
        "spectra": {key: SPECTRA[key] for key in ("name", "singular_values", "p_right_avg", "p_left_avg")},
    },
    keys={"ablation": tuple(REMOVAL), "ablation_rows": tuple(REMOVAL), **KEYS},
    needed={"ablation": columns.NEEDED, "ablation_rows": tuple(ROWS), **NEEDED},
    record=("evaluation", "options"),
    unfinished=(FOLDER,),
    empty=("matrices", "spectra"),  # where all is taken from the stream
)


class Ablation(MatrixResult):
    """A finished removal study."""

    layout: ClassVar[Layout] = LAYOUT
    options: ClassVar[type[AblationOptions]] = AblationOptions

    def check(self, directory: Path) -> None:
        """Every removal has its rows of data, as many as the baseline."""
        super().check(directory)
        results, rows = self.tables["ablation"], self.tables["ablation_rows"]
        path = directory / "ablation_rows.parquet"
        check_same_rows(path, rows, results, tuple(REMOVAL))
        if any(results["matrices"].to_pylist()) > bool(self.tables["matrices"].num_rows):
            raise RunError(f"{directory / 'matrices.parquet'}: is damaged: it has no rows")
        if BASELINE not in {tuple(row.values()) for row in results.select(list(REMOVAL)).to_pylist()}:
            raise RunError(f"{directory / 'ablation.parquet'}: is damaged: it has no baseline")
        count = len(rows["row_loss"][0])
        check_lengths(path, rows, [f"row_{key}" for key in passes.OF_ROW], [count] * rows.num_rows)

    results = frame_of("ablation", "One row a scope and removal, the baseline first.")
    rows = frame_of("ablation_rows", "The same removals with losses, weights, hits and counts by row of the data.")

    def contrast(self, scope: str, these: Sequence[str], those: Sequence[str]) -> tuple[float, float, float]:
        """Mean loss after the removals `these` less that after `those`, nats, with its paired bootstrap interval.

        Raises:
          KeyError: the study has no such removal.
        """
        table = {(r.scope, r.removal): r for r in self.rows.itertuples()}
        for name in (*these, *those):
            if (scope, name) not in table:
                raise KeyError(f"no removal {name!r} of {scope!r} in {self.directory}")
        after, before = (np.mean([table[scope, name].row_loss for name in names], axis=0) for names in (these, those))
        weight = np.asarray(table[scope, these[0]].row_weight)
        with np.errstate(invalid="ignore"):  # of infinite losses
            difference = after - before
        return paired_interval(difference, weight, **passes.bootstrap_options(self.manifest["options"]))


open_ablation = Ablation.read


def run_ablation(
    checkpoint: Checkpoint, options: AblationOptions, workdir: str | Path, on_progress: OnProgress = silent
) -> Ablation:
    """Load the model and the data that the options name, and `ablate`.

    Raises:
      RunError, CheckpointError, DataError: see `ablate` and `open_measure`.
    """
    matrices, _ = options.expanded()
    check_bands(resolve_scopes(checkpoint.matrices, options.scopes) if matrices else {}, matrices)
    measure = open_measure(checkpoint, options, options.seed)
    return ablate(checkpoint, measure, options, workdir, on_progress)


def ablate(
    checkpoint: MatrixCollection,
    measure: Measure,
    options: AblationOptions,
    workdir: str | Path,
    on_progress: OnProgress = silent,
) -> Ablation:
    """Measure the model without the chosen singular values, removal by removal.

    A matrix is decomposed once; its factors are kept on disk (`options.factors`, else in `workdir` until the end).

    Args:
      checkpoint: what `eigensweep.models.open_checkpoint` gives.
      measure: evaluated once for the baseline and once a removal that takes something.
      options: see `AblationOptions`.
      workdir: directory of the study; an unfinished one is continued after its last finished removal.
      on_progress: called at the start and after every removal.

    Raises:
      RunError: unknown scopes; a matrix that cannot be decomposed; a band that a matrix has not; a `workdir` that holds
        something else, is in use, or cannot be written.
    """
    removals, of_stream = options.expanded()
    scopes = resolve_scopes(checkpoint.matrices, options.scopes) if removals else {}
    check_bands(scopes, removals)
    evaluation = measure.description
    projection = covariance.opened(measure.opened, options) if of_stream else None
    if projection is not None:
        evaluation = {**evaluation, "calibration": describe_calibration(options, projection.calibration)}
    identity = {"checkpoint": checkpoint.identity, "options": options.to_json(), "evaluation": evaluation}
    store = factor_store(checkpoint.identity, options, Path(workdir), options.strategy)
    with claimed(workdir, LAYOUT, identity, {"warnings": list(checkpoint.warnings)}) as work:
        if not work.done:
            with factor_folder(options, Path(workdir)):
                decompositions = Decompositions(store, options)
                _Worker(
                    work, scopes, removals, of_stream, measure, projection, options, on_progress, decompositions
                ).run()
    return open_ablation(workdir)


@dataclass
class _Worker:
    work: Work
    scopes: Scopes
    removals: Sequence[Removal]
    of_stream: Sequence[Removal]
    measure: Measure
    projection: covariance.StreamProjection | None
    options: AblationOptions
    on_progress: OnProgress
    decompositions: Decompositions

    def run(self) -> None:
        """Do what is still to do, and merge."""
        names = dict.fromkeys(source.name for sources in self.scopes.values() for source in sources)
        matrices = [_matrix_unit(name) for name in names]
        tasks = [_unit(scope, str(taken)) for scope in self.scopes for taken in self.removals]
        tasks += [_unit(covariance.SCOPE, str(taken)) for taken in self.of_stream]
        units = [_unit(*BASELINE), *matrices, *tasks]
        todo = set(self.work.todo(units))
        done = len(tasks) - len(todo.intersection(tasks))
        self.on_progress(Progress(done, len(tasks), done, len(tasks), "of the model as it is", "loss"))
        start = time.perf_counter()
        if units[0] in todo:
            (row,) = passes.evaluated(self.measure, [{}])
            if not np.isfinite(row["loss"]):
                raise RunError(f"the model's loss is {row['loss']}: there is nothing to measure changes by")
            row |= dict.fromkeys(("matrices", "values", "removed", "energy"), 0) | _named(*BASELINE)
            self._write(units[0], row, row, row["seconds"])
        self.baseline = {
            key: value for rows in self.work.read(units[0]).values() for row in rows for key, value in row.items()
        }
        undone = [matrix for scope, ms in self.scopes.items() for matrix in ms if self._mine(scope, todo)]
        fresh = Decompositions(self.decompositions.store, self.options)
        self.outputs = outputs_of(undone, self.removals, self.measure, fresh)
        for scope, taken, row in chain(self._rows(todo), self._stream_rows(todo)):
            self._write(_unit(scope, str(taken)), row, self.baseline, time.perf_counter() - start)
            start, done = time.perf_counter(), done + 1
            self.on_progress(Progress(done, len(tasks), done, len(tasks), f"without {scope} {taken}", "loss"))
        said = [*self.work.manifest.get("warnings", ()), *self.decompositions.store.said]
        self.work.finish(units, warnings=said)

    def _write(self, unit: str, row: Mapping[str, Any], baseline: Mapping[str, Any], seconds: float) -> None:
        full = [{**row, **passes.changes(row, baseline, self.options.to_json())}]
        self.work.write({unit: {"ablation": full, "ablation_rows": full}}, {"total": seconds})

    def _mine(self, scope: str, todo: set[str]) -> list[Removal]:
        """The removals of a scope that are still to do."""
        return [taken for taken in self.removals if _unit(scope, str(taken)) in todo]

    def _rows(self, todo: set[str]) -> Iterator[tuple[str, Removal, dict[str, Any]]]:
        """The row of every removal still to do, scope by scope."""
        for scope, sources in self.scopes.items():
            mine = self._mine(scope, todo)
            needed = [s for s in sources if mine or _matrix_unit(s.name) in todo]
            for source, row in self.decompositions.needed(needed):
                if _matrix_unit(source.name) in todo:
                    self.work.write({_matrix_unit(source.name): {"matrices": [row], "spectra": [row]}})
            lows = ((taken, self._low_ranks(taken, sources)) for taken in mine)
            for group in passes.groups(lows, self.measure):
                yield from self._measured(scope, group, sources)

    def _low_ranks(self, taken: Removal, sources: Sequence[MatrixSource]) -> dict[str, LowRank]:
        return {
            source.name: self.decompositions.low_rank(taken, source, match_of(taken, source.name, self.outputs))
            for source in sources
        }

    def _measured(
        self, scope: str, group: passes.Group, sources: Sequence[MatrixSource]
    ) -> Iterator[tuple[str, Removal, dict[str, Any]]]:
        squares = {source.name: self.decompositions.squares[source.name] for source in sources}
        replaced = [Removed(sources, low) for _, low in group]
        # nothing to take out (a matrix without outliers): the baseline, known already
        found = iter(passes.evaluated(self.measure, [one for one in replaced if one]))
        for (taken, low), one in zip(group, replaced, strict=True):
            row = {
                **(next(found) if one else self.baseline),
                **_named(scope, str(taken)),
                "draw": taken.draw,
                "matrices": len(sources),
                "values": sum(min(source.shape) for source in sources),
                "removed": sum(update.rank for update in low.values()),
                "energy": sum(squares[n] * u.energy for n, u in low.items()) / sum(squares.values()),
                **control_columns(taken, low, squares, self.outputs),
            }
            yield scope, taken, row

    def _stream_rows(self, todo: set[str]) -> Iterator[tuple[str, Removal, dict[str, Any]]]:
        """The same for what is taken from the stream before each norm."""
        for taken in self.of_stream:
            if _unit(covariance.SCOPE, str(taken)) in todo:
                assert self.projection is not None
                assert self.measure.opened is not None
                change = self.projection.change(taken)
                row = passes.measured(partial(self.projection.scores, self.measure.opened, change))
                yield covariance.SCOPE, taken, row | _named(covariance.SCOPE, str(taken)) | change.columns


def _unit(scope: str, taken: str) -> str:
    return f"{scope}/{taken}"


def _matrix_unit(name: str) -> str:
    return f"matrix {name}"


def _named(scope: str, taken: str) -> dict[str, Any]:
    kind = taken.split(":")[0]
    return {"scope": scope, "removal": taken, "kind": kind, "draw": 0, "control_of": "", "matched": float("nan")}
