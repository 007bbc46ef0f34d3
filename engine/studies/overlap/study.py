"""The overlap study: covariances of the activations, and how the singular vectors of a swept run lie in them.

It joins the sweep in its run directory; the mathematics is in engine/spectral/covariance.py and overlap.py.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jax import Array

from eigensweep.engine.report.spectrum import known_mean
from eigensweep.engine.run.factors import FactorStore
from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.options import LARGEST, option
from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.run.stream import decomposed
from eigensweep.engine.spectral import covariance, overlap
from eigensweep.engine.spectral.covariance import Axes, Moments, Positions
from eigensweep.engine.studies.activations import tokens_of
from eigensweep.engine.studies.data import TextFields, describe_rows, rows_for, uncounted
from eigensweep.engine.studies.factors import FactorFields, factor_store
from eigensweep.engine.studies.overlap.axes import CENTRINGS, axes_of
from eigensweep.engine.studies.overlap.tables import LAYOUT, OF_MATRIX
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.studies.sweep.study import Run, is_finished, open_run, sweep
from eigensweep.engine.tables.check import check_lengths, smaller_sides
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.matrices import identity_row
from eigensweep.engine.tables.parts import Work
from eigensweep.engine.tables.result import Result, frame_of
from eigensweep.models import Checkpoint, data, nn


@dataclass(frozen=True)
class OverlapOptions(TextFields, FactorFields):
    """Options of an overlap study."""

    COMMAND: ClassVar[str] = "overlap"
    ALIASES: ClassVar[Mapping[str, str]] = {"text": "data", "num_rows": "max_rows"}

    length: int = uncounted(128, "tokens a row", least=2)
    max_rows: int = uncounted(1024, "of the data's rows, chosen by the seed; 0 for all", least=0)
    batch_size: int = uncounted(16, "rows that go through the model at a time", least=1)
    seed: int = uncounted(0, "of the choice of rows, and of the permutation tests", least=0, most=LARGEST)
    centring: str = option(
        "none",
        "what is taken off the activations: nothing, their mean, or the mean over examples of each position",
        choices=CENTRINGS,
    )
    centred: bool = option(False, "the same as centring = mean")
    level: float = uncounted(0.01, "of the sweep's outlier tests, where there is no sweep yet", inside=(0, 0.5))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.centred and self.centring == "positions":
            raise ValueError("centred is on, which is centring = mean, and centring is positions; give one of them")
        if self.centred:
            object.__setattr__(self, "centring", "mean")
        object.__setattr__(self, "centred", self.centring == "mean")


class Overlap(Result):
    """A finished overlap study."""

    layout: ClassVar[Layout] = LAYOUT
    options: ClassVar[type[OverlapOptions]] = OverlapOptions

    def check(self, directory: Path) -> None:
        """Every matrix is one of the sweep's, and its lists have a value a singular value; spectra have one a axis."""
        overlap, covariances = self.tables["overlap"], self.tables["overlap_covariances"]
        path, shape = directory / "overlap.parquet", ["name", "m", "n"]
        check_lengths(path, overlap, ("overlap", "overlap_partner", "p_overlap"), smaller_sides(path, overlap))
        dims = covariances["d"].to_pylist()
        check_lengths(directory / "overlap_covariances.parquet", covariances, ("evals",), dims)
        swept = {tuple(row.values()) for row in open_run(directory).tables["matrices"].select(shape).to_pylist()}
        for row in overlap.select(shape).to_pylist():
            if tuple(row.values()) not in swept:
                raise RunError(f"{path}: is damaged, or not of the sweep beside it, which has no such {row['name']}")

    @property
    def run(self) -> Run:
        """The sweep that it belongs to."""
        assert self.directory is not None
        return open_run(self.directory)

    matrices = frame_of("overlap", "One row a matrix; joins `run.matrices` by name.")
    covariances = frame_of("overlap_covariances", "One row a linear layer's input.")

    @property
    def centring(self) -> str:
        """What was taken off the activations: one of CENTRINGS."""
        chosen = self.manifest.get("options", self.manifest.get("identity", {}))
        return str(chosen.get("centring", "mean" if chosen.get("centred") else "none"))


open_overlap = Overlap.read


def run_overlap(
    checkpoint: Checkpoint, options: OverlapOptions, workdir: str | Path, on_progress: OnProgress = silent
) -> Overlap:
    """The overlap study of a checkpoint, on top of the sweep in `workdir`, which is done first where there is none.

    Raises:
      RunError: `workdir` holds another checkpoint's sweep or another study, is in use, or cannot be written; the
        options or the data do not serve.
    """
    model = nn.model_of(checkpoint, options.dtype)
    params = nn.load(checkpoint, options.dtype)[1] if options.format == "sampled" else None
    rows = rows_for(checkpoint, model, params, options, options.seed, None, "random")
    store = factor_store(checkpoint.identity, options, Path(workdir)) if options.factors else None
    swept = _swept(checkpoint, options, Path(workdir), on_progress)
    identity = {"checkpoint": checkpoint.identity, "options": options.to_json(), "data": describe_rows(rows, options)}
    scored = bool((rows.targets != data.IGNORE).any())

    def run_all(batch_size: int, most: int | None = None) -> None:
        batches = list(data.batches(rows, batch_size))[:most]
        if most is not None:  # how many rows fit? nothing is written
            nn.stream(model, nn.reader(checkpoint, model), batches, _loss, scored=scored)
            return
        with claimed(workdir, LAYOUT, identity) as work:
            if not work.done:
                collector = Collector(work, swept, checkpoint.matrices, batches, options.centring, on_progress, store)
                parts = nn.stream(
                    model, nn.reader(checkpoint, model), batches, _loss, visit=collector.visit, scored=scored
                )
                total, count = np.sum(parts, axis=0)
                collector.finish(loss=total / count if count else None)

    nn.with_memory_advice(run_all, options.batch_size, lambda size: run_all(size, 1))
    return open_overlap(workdir)


def _swept(checkpoint: Checkpoint, options: OverlapOptions, workdir: Path, on_progress: OnProgress) -> Run:
    """The finished sweep of this checkpoint in `workdir`, whatever its options; else a new or a continued one.

    Raises:
      RunError: it is another checkpoint's.
    """
    if not is_finished(workdir):
        return sweep(checkpoint, SweepOptions(level=options.level), workdir, on_progress=on_progress)
    run = open_run(workdir)
    there = run.manifest["checkpoint"]
    if there.get("sha256") != checkpoint.identity["sha256"]:
        raise RunError(f"{workdir}: is the sweep of {there.get('source')}, not of this checkpoint")
    return run


def _loss(batch: data.Rows, output: nn.Output) -> tuple[float, int]:
    """Sum of the language model's loss over a batch's targets, and their number."""
    if output.losses is None:
        return 0.0, 0
    total, count, _ = output.losses
    return float(total.sum()), int(count.sum())


@dataclass
class Collector:
    """Takes the activations of one block after another, and writes each block's rows when it has seen all batches.

    Attributes:
      work: where the rows go.
      swept: the sweep of the same checkpoint.
      matrices: the checkpoint's; those without statistics in the sweep, and tables of embeddings, have no overlap.
      batches: of rows.
      centring: what is taken off the activations, one of CENTRINGS.
      store: of right vectors; without one they are computed and forgotten, since each serves once.
    """

    work: Work
    swept: Run
    matrices: Sequence[Any]
    batches: Sequence[data.Rows]
    centring: str = "none"
    on_progress: OnProgress = silent
    store: FactorStore | None = None
    _moments: dict[str, Moments] = field(default_factory=dict)
    _positions: dict[str, Positions] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        table = self.swept.matrices.merge(self.swept.spectra[["name", "singular_values"]], on="name")
        self._rows = {row["name"]: row for row in table.to_dict("records") if row["status"] == "ok"}
        self.groups: dict[str, list[Any]] = {}
        for matrix in self.matrices:
            if matrix.path.endswith("/kernel") and matrix.name in self._rows:
                self.groups.setdefault(nn.tap_of(matrix.path), []).append(matrix)
        self.units = list(dict.fromkeys(unit_of(tap) for tap in self.groups))  # in model order
        self._todo = self.work.todo(self.units)

    def visit(self, number: int, taps: Mapping[str, Array]) -> None:
        """Batch `number`'s activations, (B, T, d) or (B, d), by tap: of one block, every batch after the other."""
        wanted = {tap: x for tap, x in taps.items() if tap in self.groups and unit_of(tap) in self._todo}
        mask = self.batches[number].attention_mask
        for tap, x in wanted.items():
            moments = self._moments.pop(tap, None) or covariance.zero(x.shape[-1])
            tokens = tokens_of(tap, taps, mask)
            self._moments[tap] = covariance.accumulate(moments, x, tokens)
            if x.ndim == 3:
                positions = self._positions.pop(tap, None) or covariance.zero_positions(*x.shape[1:])
                self._positions[tap] = covariance.accumulate_positions(positions, x, tokens)
        if wanted and number == len(self.batches) - 1:
            self._write(unit_of(next(iter(wanted))))

    def _write(self, unit: str) -> None:
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in LAYOUT.tables}
        for tap in [tap for tap in self.groups if unit_of(tap) == unit and tap in self._moments]:
            moments, positions = self._moments.pop(tap), self._positions.pop(tap, None)
            count = int(moments.tokens)
            if not count and nn.routes_of(tap):
                continue  # no token went to this expert
            try:
                axes, shares = axes_of(moments, positions, self.centring)
            except ValueError as error:
                raise RunError(f"{tap}: {error}") from error
            if not len(axes.vectors):
                raise RunError(f"{tap}: the covariance of its {count} tokens is zero, it has no directions")
            about = {"tap": tap, "num_tokens": count, "num_axes": len(axes.vectors)}
            found = {m.name: matrix_row(m, vt, self._rows[m.name], axes) for m, vt in self._right(self.groups[tap])}
            rows["overlap"] += [about | found[matrix.name] for matrix in self.groups[tap]]
            block = self.groups[tap][0].block
            spectrum = {"block": block, "d": len(axes.evals), "evals": axes.evals, **shares}
            rows["overlap_covariances"].append(about | spectrum)
        now = time.perf_counter()
        self.work.write({unit: rows}, {"total": now - self._began})
        self._began = now
        self._todo.remove(unit)
        done = len(self.units) - len(self._todo)
        self.on_progress(Progress(done, len(self.units), done, len(self.units), f"behind {unit}", "overlaps"))

    def _right(self, matrices: Sequence[Any]) -> Iterator[tuple[Any, np.ndarray]]:
        """Every matrix with its right singular vectors."""
        for matrix, found in (
            decomposed(matrices, vectors="right") if self.store is None else self.store.decomposed(matrices, ("right",))
        ):
            yield matrix, found.vt[0]

    def finish(self, **record: Any) -> None:
        """Merge what was written; matrices whose input never came, and taps that never did, are named in the manifest.

        Raises:
          RunError: no activations came at all.
        """
        done = [unit for unit in self.units if unit not in self._todo]
        if not done:
            raise RunError("no matrix of the run has activations entering it in this forward pass")
        seen = {row["tap"] for unit in done for row in self.work.read(unit)["overlap_covariances"]}
        absent = [matrix.name for tap, of in self.groups.items() if tap not in seen for matrix in of]
        tokens = int(sum(batch.attention_mask.sum() for batch in self.batches))
        said = [*self.work.manifest.get("warnings", ()), *(self.store.said if self.store else ())]
        record |= {"warnings": said} if said else {}
        self.work.finish(done, **record, num_tokens=tokens, without_activations=absent)


def unit_of(tap: str) -> str:
    """What is written together with this tap: its block, or "head"."""
    parts = tap.split("/")
    return "/".join(parts[:2]) if parts[0] == "blocks" else "head"


def matrix_row(matrix: MatrixSource, vt: np.ndarray, swept: Mapping[str, Any], axes: Axes) -> dict[str, Any]:
    """A matrix's row: its overlaps with these axes, by the sweep's edges and numerical rank.

    Args:
      matrix: (m, n), n the axes' dimension.
      vt: (b, n) its right singular vectors.
      swept: its row of the sweep: singular_values, nu_minus, nu_plus, hard_rank.
      axes: of the activations that enter it.
    """
    n = matrix.shape[1]
    values, partner = (np.array(x) for x in overlap.overlaps(vt, axes.vectors))
    values[int(swept["hard_rank"]) :] = np.nan
    s = np.asarray(swept["singular_values"])
    right, left = s > swept["nu_plus"], s < swept["nu_minus"]
    r = len(axes.vectors)
    return {
        **{key: value for key, value in identity_row(matrix).items() if key in OF_MATRIX},
        **{"num_overlap_right": int(right.sum()), "num_overlap_left": int(left.sum())},
        "overlap_right": known_mean(values[right]),
        "overlap_inside": known_mean(values[~right & ~left]),
        "overlap_left": known_mean(values[left]),
        "overlap_null": overlap.null_mean(n, r),
        "overlap_null_99": float(overlap.null_quantile(0.99, n, r)),
        "overlap": values,
        "overlap_partner": partner,
        "p_overlap": overlap.null_tail(values, n, r),
    }
