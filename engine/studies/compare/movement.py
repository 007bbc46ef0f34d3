"""How far matrices moved between two checkpoints, and what their differences look like beside noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.memory import default_budget
from eigensweep.engine.run.stream import Batch, batches, decompose_batch, read_ahead
from eigensweep.engine.spectral import subspaces
from eigensweep.engine.spectral.svd import is_streamed
from eigensweep.engine.studies.compare.columns import DELTA, MOVED
from eigensweep.engine.studies.compare.options import CompareOptions
from eigensweep.engine.studies.sweep.readings import rows_of
from eigensweep.engine.tables.equalised import EQUALISED

Both = tuple[np.ndarray, np.ndarray]
_AT_ONCE = 3  # W, W' and their difference lie in memory together


@dataclass(frozen=True)
class Difference:
    """The difference of two matrices of one shape, as a source of matrices whose `read` gives both."""

    unit: str
    key: dict[str, Any]
    first: MatrixSource
    second: MatrixSource

    @property
    def name(self) -> str:
        """The name that random numbers go by."""
        return self.first.name

    @property
    def role(self) -> str:
        """As the first matrix's."""
        return self.first.role

    @property
    def block(self) -> int | None:
        """As the first matrix's."""
        return self.first.block

    @property
    def expert(self) -> int | None:
        """As the first matrix's."""
        return self.first.expert

    @property
    def shape(self) -> tuple[int, int]:
        """Of both."""
        return tuple(self.first.shape)  # type: ignore[return-value]

    @property
    def dtype(self) -> str:
        """float64 where both are: a difference of float32 numbers is as exact as they are."""
        return "float64" if self.first.dtype == self.second.dtype == "float64" else "float32"

    def read(self) -> Any:
        """W and W'."""
        return self.first.read(), self.second.read()


def moved(
    sources: Sequence[Difference], options: CompareOptions, memory_bytes: int | None = None
) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
    """Rows of the table `moved`, batch by batch."""
    budget = (memory_bytes or default_budget()) // _AT_ONCE
    for batch, both, _ in read_ahead(batches(sources, budget)):
        yield batch, rows_of_batch(batch.sources, both, options)  # type: ignore[arg-type]


def rows_of_batch(sources: Sequence[Difference], both: Sequence[Any], options: CompareOptions) -> list[dict[str, Any]]:
    """A row a difference; `both` are W and W' of each, of one shape."""
    deltas = [_difference(w, other, source.dtype) for source, (w, other) in zip(sources, both, strict=True)]
    read = rows_of(sources, deltas, options.sweep_options())
    angles = _angles([s.name for s in sources], both, options)
    rows = []
    for source, pair, delta, of_delta, of_spans in zip(sources, both, deltas, read, angles, strict=True):
        row = source.key | {"name": source.first.name, "name_other": source.second.name}
        row |= {"m": source.shape[0], "n": source.shape[1], "status": of_delta["status"]} | _distances(pair, delta)
        row |= {name: of_delta.get(name.removeprefix(DELTA)) for name in MOVED if name.startswith(DELTA)} | of_spans
        rows.append(row | directions(of_delta, min(source.shape)))
    return rows


def _difference(w: np.ndarray, other: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return (np.asarray(other, np.float64) - np.asarray(w, np.float64)).astype(dtype)


def _distances(both: Both, delta: np.ndarray) -> dict[str, float]:
    w, other = (np.asarray(x, np.float64) for x in both)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        norm, norm_other, moved_by = (np.float64(np.linalg.norm(x)) for x in (w, other, delta.astype(np.float64)))
        return {
            "relative": float(moved_by / norm),
            "cosine": float(np.vdot(w, other) / (norm * norm_other)),
            "norm_ratio": float(norm_other / norm),
            "share_changed": float(np.mean(w != other)) if w.size else float("nan"),
        }


def directions(row: dict[str, Any], b: int) -> dict[str, Any]:
    """`num_directions` and what it is from, of the readings of a difference."""
    if row["status"] == "all zero":
        return {"num_directions": 0, "directions_by": "rank"}
    rank = row.get("hard_rank")
    if rank is not None and rank < b / 2:
        return {"num_directions": rank, "directions_by": "rank"}
    for by, column in (("equalised", f"{EQUALISED}num_right_outliers"), ("signs", "num_right_outliers_beyond_signs")):
        if row.get(column) is not None:
            return {"num_directions": row[column], "directions_by": by}
    return {"num_directions": None, "directions_by": None}


def _angles(names: Sequence[str], both: Sequence[Both], options: CompareOptions) -> list[dict[str, Any]]:
    """The columns of the principal angles; NaN and empty lists where no vectors are to be had."""
    shape = both[0][0].shape
    k = min(options.top, min(shape) // 2)
    nothing: dict[str, Any] = {name: [] for name in MOVED if name.startswith("angles_")}
    if k < 1 or is_streamed(shape, options.strategy):
        return [dict(nothing) for _ in names]
    found = [decompose_batch(names, [pair[i] for pair in both], options.strategy, vectors=True) for i in (0, 1)]
    rows = []
    for i in range(len(names)):
        if any(side.status[i] != "ok" for side in found):
            rows.append(dict(nothing))
            continue
        s = found[0].s[i]
        row: dict[str, Any] = {"k": k, "gap": float((s[k - 1] - s[k]) / s[0])}
        for side, spans in (("right", [x.vt[i][:k] for x in found]), ("left", [x.u[i][:, :k].T for x in found])):
            row |= _of_spans(side, spans[0], spans[1])
        rows.append(row)
    return rows


def _of_spans(side: str, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    k, n = first.shape
    angles = subspaces.principal_angles(first, second)
    value = subspaces.overlap(angles)
    return {
        f"angles_{side}": np.degrees(angles),
        f"overlap_{side}": value,
        f"overlap_null_{side}": k / n,
        f"overlap_null_99_{side}": subspaces.null_quantile(0.99, k, n),
        f"overlap_p_{side}": subspaces.overlap_p(value, k, n),
    }
