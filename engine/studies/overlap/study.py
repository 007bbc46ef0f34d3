"""The overlap study: covariances of the activations, and how the singular vectors of a swept run lie in them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from jax import Array

from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.lock import locked
from eigensweep.engine.run.schema import IDENTITY
from eigensweep.engine.run.store import Run, open_run
from eigensweep.engine.run.study import Study
from eigensweep.engine.spectral import covariance, overlap
from eigensweep.engine.spectral.covariance import Axes, Moments
from eigensweep.engine.spectral.svd import decompose

if TYPE_CHECKING:
    import pandas as pd

NAME = "overlap"
_LIST = pa.list_(pa.float64())
SCHEMAS = {
    "matrices": pa.schema(
        {key: kind for key, kind in IDENTITY.items() if key != "dtype"}
        | {
            "tap": pa.string(),
            "num_tokens": pa.int64(),
            "num_axes": pa.int64(),
            "num_overlap_right": pa.int64(),
            "num_overlap_left": pa.int64(),
            "overlap_right": pa.float64(),
            "overlap_inside": pa.float64(),
            "overlap_left": pa.float64(),
            "overlap_null": pa.float64(),
            "overlap_null_99": pa.float64(),
            "overlap": _LIST,
            "overlap_partner": pa.list_(pa.int64()),
            "p_overlap": _LIST,
        }
    ),
    "covariances": pa.schema(
        {
            "tap": pa.string(),
            "block": pa.int64(),
            "d": pa.int64(),
            "num_tokens": pa.int64(),
            "num_axes": pa.int64(),
            "evals": _LIST,
        }
    ),
}


@dataclass(frozen=True)
class OverlapRun:
    """A finished overlap study.

    Attributes:
      run: the sweep that it belongs to.
      tables: "matrices" (one row a matrix, joins `run.matrices` by name) and "covariances" (one row a linear layer's
        input) as Arrow tables.
      manifest: what the numbers depend on, and what the study recorded.
    """

    run: Run
    tables: dict[str, pa.Table]
    manifest: dict[str, Any]

    @cached_property
    def matrices(self) -> "pd.DataFrame":
        """One row a matrix. Columns: engine.report.columns."""
        return self.tables["matrices"].to_pandas()

    @cached_property
    def covariances(self) -> "pd.DataFrame":
        """One row a linear layer's input. Columns: engine.report.columns."""
        return self.tables["covariances"].to_pandas()


def open_overlap(directory: str | Path) -> OverlapRun:
    """Read the overlap study of a run directory.

    Raises:
      RunError: there is none, or it is not finished.
    """
    study = Study(directory, NAME, SCHEMAS)
    tables = {table: study.read(table) for table in SCHEMAS}
    return OverlapRun(open_run(directory), tables, study.manifest() or {})


@dataclass
class Collector:
    """Takes the activations of one block after another, and writes each block's rows when it has seen all batches.

    Attributes:
      run: the sweep.
      study: where the rows go.
      groups: tap -> the matrices whose input it is.
      masks: (B, T) true for tokens, of every batch.
      centred: take the mean activation away.
    """

    run: Run
    study: Study
    groups: Mapping[str, Sequence[MatrixSource]]
    masks: Sequence[np.ndarray]
    centred: bool = False
    _moments: dict[str, Moments] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._done = self.study.finished()
        table = self.run.matrices.merge(self.run.spectra[["name", "singular_values"]], on="name")
        self._swept = {row["name"]: row for row in table.to_dict("records")}

    @property
    def units(self) -> list[str]:
        """Blocks and what else is written in one piece, in model order."""
        return list(dict.fromkeys(unit_of(tap) for tap in self.groups))

    def visit(self, number: int, taps: Mapping[str, Array]) -> None:
        """Batch `number`'s activations, (B, T, d) or (B, d), by tap: of one block, every batch after the other."""
        wanted = {tap: x for tap, x in taps.items() if tap in self.groups and unit_of(tap) not in self._done}
        mask = self.masks[number]
        for tap, x in wanted.items():
            moments = self._moments.pop(tap, None) or covariance.zero(x.shape[-1])
            tokens = mask if x.ndim == 3 else mask.any(axis=1)
            self._moments[tap] = covariance.accumulate(moments, x, tokens)
        if wanted and number == len(self.masks) - 1:
            self._write(unit_of(next(iter(wanted))))

    def _write(self, unit: str) -> None:
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in SCHEMAS}
        for tap in [tap for tap in self.groups if unit_of(tap) == unit and tap in self._moments]:
            moments = self._moments.pop(tap)
            count = int(moments.tokens)
            try:
                axes = covariance.principal_axes(covariance.covariance(moments, self.centred))
            except ValueError as error:
                raise RunError(f"{tap}: {error}") from error
            if not len(axes.vectors):
                raise RunError(f"{tap}: the covariance of its {count} tokens is zero, it has no directions")
            about = {"tap": tap, "num_tokens": count, "num_axes": len(axes.vectors)}
            for matrix in self.groups[tap]:
                rows["matrices"].append(about | matrix_row(matrix, self._swept[matrix.name], axes))
            block = self.groups[tap][0].block
            rows["covariances"].append(about | {"block": block, "d": len(axes.evals), "evals": axes.evals})
        self.study.write(unit, rows)
        self._done.add(unit)

    def finish(self, record: Mapping[str, Any]) -> OverlapRun:
        """Join what was written; matrices whose input never came are named in the manifest.

        Raises:
          RunError: no activations came at all.
        """
        done = [unit for unit in self.units if unit in self._done]
        if not done:
            raise RunError("no matrix of the run has activations entering it in this forward pass")
        absent = [m.name for tap, ms in self.groups.items() if unit_of(tap) not in done for m in ms]
        self.study.finish(done, {**record, "without_activations": absent})
        return open_overlap(self.study.directory)


def unit_of(tap: str) -> str:
    """What is written together with this tap: its block, or "head"."""
    parts = tap.split("/")
    return "/".join(parts[:2]) if parts[0] == "blocks" else "head"


def matrix_row(matrix: MatrixSource, swept: Mapping[str, Any], axes: Axes) -> dict[str, Any]:
    """A matrix's row: its overlaps with these axes, by the sweep's edges and numerical rank.

    Args:
      matrix: (m, n), n the axes' dimension.
      swept: its row of the sweep: singular_values, nu_minus, nu_plus, hard_rank.
      axes: of the activations that enter it.
    """
    m, n = matrix.shape
    vt = np.asarray(decompose(matrix.read()[None]).vt[0])
    values, partner = (np.array(x) for x in overlap.overlaps(vt, axes.vectors))
    values[int(swept["hard_rank"]) :] = np.nan
    s = np.asarray(swept["singular_values"])
    right, left = s > swept["nu_plus"], s < swept["nu_minus"]
    r = len(axes.vectors)
    return {
        **{key: getattr(matrix, key) for key in ("name", "role", "block", "expert")},
        **{"m": m, "n": n, "num_overlap_right": int(right.sum()), "num_overlap_left": int(left.sum())},
        "overlap_right": _mean(values[right]),
        "overlap_inside": _mean(values[~right & ~left]),
        "overlap_left": _mean(values[left]),
        "overlap_null": overlap.null_mean(n, r),
        "overlap_null_99": float(overlap.null_quantile(0.99, n, r)),
        "overlap": values,
        "overlap_partner": partner,
        "p_overlap": overlap.null_tail(values, n, r),
    }


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


@contextmanager
def overlap_study(
    run: Run,
    groups: Mapping[str, Sequence[MatrixSource]],
    masks: Sequence[np.ndarray],
    identity: Mapping[str, Any],
    centred: bool = False,
) -> Iterator[Collector | None]:
    """The study of a run directory, held for this process: `with overlap_study(…) as collector:`.

    Args:
      run: a finished sweep with a directory.
      groups: tap -> the matrices whose input it is; those without statistics in the sweep are left out here.
      masks: of every batch.
      identity: what the numbers depend on besides: the data, the precision.
      centred: see Collector.

    Yields:
      The collector to show the activations to; None if the study is done already.

    Raises:
      RunError: see `Study.begin`; the run has no directory, or it is in use.
    """
    if run.directory is None:
        raise RunError("the sweep left no run directory for the overlaps to join")
    ok = set(run.matrices.loc[run.matrices["status"] == "ok", "name"])
    chosen = {tap: [m for m in matrices if m.name in ok] for tap, matrices in groups.items()}
    study = Study(run.directory, NAME, SCHEMAS)
    with locked(run.directory):
        if study.begin({**identity, "centred": centred}):
            yield None
        else:
            yield Collector(run, study, {tap: ms for tap, ms in chosen.items() if ms}, masks, centred)
