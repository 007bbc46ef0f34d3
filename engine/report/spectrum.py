"""A run as the figures read it: spectra grouped by role, singular values in the Marchenko-Pastur law's own unit."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from eigensweep.engine.report.style import shorten
from eigensweep.engine.tables.groups import Group, group_of
from eigensweep.engine.tables.matrices import CONTROLS, EQUALISED, control_prefix
from eigensweep.engine.tables.result import MatrixResult, Result

MAX_SHAPES = 4
BINS = 60
UNIT = "ν / (σ √max(m, n))"
NULL = 1e-9  # of the largest singular value: what lies below is rounding, not drawn on logarithmic axes


@dataclass(frozen=True)
class Spectrum:
    """One decomposed (m, n) matrix, or its control.

    Attributes:
      unit: sigma sqrt(max(m, n)) in the unit of the weights; in this unit the law depends on m/n alone.
      values: singular values divided by `unit`, descending, (min(m, n),); 0 beyond the numerical rank.
      right, left: number of outliers beyond the right and the left edge; 0 where there is no test.
      tested: whether there is an edge test (it needs 8 values and a bulk).
      p_right, p_left: locally averaged p-values by index, NaN where undetermined; empty where not computed.
      rejected_right, rejected_left: number of vectors that Benjamini-Hochberg rejects, of those that have a p-value.
      control: the random matrix that went down the same path.
      equalised: the matrix with its rows and columns brought to one scale.
    """

    name: str
    role: str
    block: int | None
    m: int
    n: int
    unit: float
    values: np.ndarray
    right: int
    left: int
    p_right: np.ndarray
    p_left: np.ndarray
    rejected_right: int
    rejected_left: int
    tested: bool = True
    control: "Spectrum | None" = None
    equalised: "Spectrum | None" = None
    tower: str = ""

    @property
    def edges(self) -> tuple[float, float]:
        """The law's edges in units of `unit`."""
        root = math.sqrt(min(self.m, self.n) / max(self.m, self.n))
        return 1 - root, 1 + root


def grouped(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of `run.matrices` by role and tower, each with its shape where it has a few different ones, in their order.

    Averages over different shapes say little; a role of more than MAX_SHAPES shapes stays one group all the same.
    """
    shapes: dict[Group, set[tuple[int, int]]] = {}
    for row in rows:
        shapes.setdefault(group_of(row), set()).add((row["m"], row["n"]))
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        group = group_of(row)
        shape = f" {row['m']} × {row['n']}" if 1 < len(shapes[group]) <= MAX_SHAPES else ""
        groups.setdefault(group.label + shape, []).append(row)
    return dict(sorted(groups.items(), key=lambda item: group_of(item[1][0]).order))


def by_role(run: MatrixResult) -> dict[str, list[Spectrum]]:
    """The spectra of every matrix whose status is ok, by group in their order; within a group by block."""
    vectors = {row["name"]: row for row in run.spectra.to_dict("records")}
    groups, control = {}, shown_control(run)
    for label, rows in grouped(run.matrices.to_dict("records")).items():
        ok = [row for row in rows if row["status"] == "ok" and row["name"] in vectors]
        spectra = [_spectrum(row, vectors[row["name"]], control=control) for row in ok]
        if members := [s for s in spectra if s.values.size]:
            groups[label] = sorted(members, key=lambda s: math.inf if s.block is None else s.block)
    return groups


def known_mean(values: np.ndarray) -> float:
    """The mean of what is finite; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def scalar(row: Mapping[str, Any], column: str) -> float:
    """A table's number; NaN where it is absent, null or not a number."""
    value = row.get(column)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def block_of(row: Mapping[str, Any]) -> int | None:
    """The block of a row of `run.matrices`; None outside the blocks."""
    block = scalar(row, "block")
    return None if math.isnan(block) else int(block)


def _spectrum(row: Mapping[str, Any], vectors: Mapping[str, Any], prefix: str = "", control: str = "") -> Spectrum:
    """The reading of a matrix whose columns begin with `prefix`; the matrix itself has its other readings with it."""
    m, n = int(row["m"]), int(row["n"])
    if prefix == EQUALISED:
        m, n = m - _count(row, "zero_rows"), n - _count(row, "zero_columns")
    values = _list(vectors, f"{prefix}singular_values")
    known_rank = scalar(row, f"{prefix}hard_rank")
    rank = values.size if math.isnan(known_rank) else int(known_rank)
    values = np.where(np.arange(values.size) < rank, values, 0.0)  # the rest is rounding
    # Where most of the spectrum is zero, what was fitted to the bulk was fitted to rounding.
    sigma = scalar(row, f"{prefix}sigma") if 2 * rank >= values.size else math.nan
    unit = _unit(sigma, values, m, n)

    def reading(other: str) -> Spectrum | None:
        with_it = not prefix and other and _list(vectors, f"{other}singular_values").size
        return _spectrum(row, vectors, other) if with_it else None

    return Spectrum(
        name=str(row["name"]),
        role=str(row["role"]),
        tower=group_of(row).tower,
        block=block_of(row),
        m=m,
        n=n,
        unit=unit,
        values=values / unit,
        right=_count(row, f"{prefix}num_right_outliers"),
        left=_count(row, f"{prefix}num_left_outliers"),
        p_right=_list(vectors, f"{prefix}p_right_avg"),
        p_left=_list(vectors, f"{prefix}p_left_avg"),
        rejected_right=_count(row, f"{prefix}rejected_right"),
        rejected_left=_count(row, f"{prefix}rejected_left"),
        tested=not math.isnan(scalar(row, f"{prefix}num_right_outliers")),
        control=reading(control),
        equalised=reading(EQUALISED),
    )


def _count(row: Mapping[str, Any], column: str) -> int:
    """A count of the table; 0 where there is none."""
    return int(np.nan_to_num(scalar(row, column)))


def _list(vectors: Mapping[str, Any], column: str) -> np.ndarray:
    value = vectors.get(column)
    if value is None or np.ndim(value) != 1:
        return np.empty(0)
    return np.asarray(value, dtype=np.float64)


def _unit(sigma: float, values: np.ndarray, m: int, n: int) -> float:
    """sigma sqrt(max(m, n)); without a sigma (a matrix of low rank has no bulk) that of the entries."""
    if not (math.isfinite(sigma) and sigma > 0):
        sigma = math.sqrt(float(np.sum(values**2)) / (m * n)) if values.size else 1.0
    return (sigma or 1.0) * math.sqrt(max(m, n))


@lru_cache(maxsize=256)
def law(m: int, n: int, right: int = 0, left: int = 0, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """The density of the bulk of s/(sigma sqrt(a)), a = max(m, n), on a grid over its support, edges included.

    With k = right and l = left values beyond its edges the bulk is what noise of shape (a - k) x (b - k - l) has, and
    holds (b - k - l)/b of the mass: the curve encloses that share.
    """
    low, high = _bulk_edges(m, n, right, left)
    # Half a cosine: dense where the density has square-root edges.
    grid = low + (high - low) * (1 - np.cos(np.linspace(0, np.pi, points))) / 2
    if low <= 0:
        grid[0] = grid[1] / 2  # the formula divides by nu
    return grid, _bulk_density(grid, m, n, right, left)


def _bulk_edges(m: int, n: int, right: int, left: int) -> tuple[float, float]:
    a, b = max(m, n), min(m, n)
    long, short = math.sqrt((a - right) / a), math.sqrt(max(b - right - left, 1) / a)
    return long - short, long + short


def _bulk_density(grid: np.ndarray, m: int, n: int, right: int, left: int) -> np.ndarray:
    from eigensweep.engine.spectral import marchenko_pastur

    a, b = max(m, n), min(m, n)
    count = max(b - right - left, 1)
    return count / b * np.asarray(marchenko_pastur.pdf(grid, a - right, count, 1 / math.sqrt(a)), dtype=np.float64)


def thresholds(members: list[Spectrum], level: float) -> tuple[float, float]:
    """What noise alone reaches at `level`, left and right, in units of `unit`; the mean over the members' shapes."""
    from eigensweep.engine.spectral import edges

    sides = (edges.left_threshold, edges.right_threshold)
    left, right = ([side(s.m, s.n, level) / math.sqrt(max(s.m, s.n)) for s in members] for side in sides)
    return float(np.mean(left)), float(np.mean(right))


def checkpoint_name(result: Result) -> str:
    """What a title calls a result's checkpoint: the last two parts of where it came from."""
    source = str(result.manifest.get("checkpoint", {}).get("source", "")).rstrip("/")
    return shorten("/".join(source.split("/")[-2:]) or "a checkpoint", 120)


def level_of(run: MatrixResult) -> float:
    """The level of the run's outlier tests."""
    return float(run.manifest.get("options", {}).get("level", 0.01))


def mean_law(members: list[Spectrum]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the densities of the members' bulks, each with its share of the mass; see `law`."""
    shapes = Counter((max(s.m, s.n), min(s.m, s.n), s.right, s.left) for s in members)
    if len(shapes) == 1:
        return law(*next(iter(shapes)))
    ends = np.array([_bulk_edges(*shape) for shape in shapes])
    grid = np.linspace(max(ends[:, 0].min(), 1e-6), ends[:, 1].max(), 800)
    densities = np.array([count * _bulk_density(grid, *shape) for shape, count in shapes.items()])
    return grid, densities.sum(axis=0) / len(members)


def shape_text(members: list[Spectrum]) -> str:
    """The shape of the members, or how many shapes they have."""
    shapes = sorted({(s.m, s.n) for s in members})
    return f"{shapes[0][0]} × {shapes[0][1]}" if len(shapes) == 1 else f"{len(shapes)} shapes"


def median_text(values: Sequence[float]) -> str:
    """The median of numbers as a title prints it."""
    return f"{np.median(values):g}" if values else "–"


def bins_of(members: list[Spectrum]) -> np.ndarray:
    """Bin limits from 0 to the largest singular value, at most 1.5 times the law's right edge."""
    top = max(s.values[0] for s in members)
    tops = [s.control.values[0] for s in members if s.control]
    edge = max(s.edges[1] for s in members)
    return np.linspace(0, min(1.02 * max([top, edge, *tops]), 1.5 * edge), BINS + 1)


def mean_density(spectra: list[Spectrum], bins: np.ndarray) -> np.ndarray:
    """The mean of the spectra's normalised histograms: it integrates to the share of values within the bins."""
    densities = [np.histogram(s.values, bins)[0] / (s.values.size * np.diff(bins)) for s in spectra]
    return np.mean(densities, axis=0)


def by_index(series: list[np.ndarray]) -> np.ndarray:
    """Averaged p-values as (matrices, indices); NaN where a matrix has none."""
    padded = np.full((len(series), max((p.size for p in series), default=0)), np.nan)
    for row, p in zip(padded, series, strict=True):
        row[: p.size] = p
    return padded


def mean_by_index(series: list[np.ndarray]) -> np.ndarray:
    """The mean over matrices at each index; NaN where no matrix has a p-value."""
    padded = by_index(series)
    known = np.isfinite(padded)
    count = known.sum(axis=0)
    return np.where(count, np.where(known, padded, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def null_sd(members: Sequence[Spectrum], side: str) -> tuple[np.ndarray, np.ndarray]:
    """How far averaged p-values stray under the null at each index: one matrix's (mean over the members), their mean's.

    Two standard deviations, each as long as the longest of the members' p-values; NaN where no member has one.
    """
    from eigensweep.engine.spectral import ks

    lengths = [s.n if side == "right" else s.m for s in members]
    averages = [getattr(s, f"p_{side}") for s in members]
    sd = [ks.local_average_sd(p, length) for p, length in zip(averages, lengths, strict=True)]
    return mean_by_index(sd), ks.sd_over_matrices(by_index(sd))


def outliers_column(run: MatrixResult, side: str) -> tuple[str, str]:
    """The column of outliers that maps and comparisons show, and its name: those beyond random signs where known."""
    column = f"num_{side}_outliers_beyond_signs"
    beyond = column in run.matrices.columns
    return (column, f"{side} outliers beyond random signs") if beyond else (f"num_{side}_outliers", f"{side} outliers")


def shown_control(run: MatrixResult) -> str:
    """The prefix of the columns of the control that summaries show; "" for a run without one."""
    prefixes = [control_prefix(kind) for kind in CONTROLS]
    return next((p for p in prefixes if f"{p}num_right_outliers" in run.matrices.columns), "")


def control_label(prefix: str) -> str:
    """What a figure calls a control."""
    return "random signs" if control_name(prefix) == "signs" else "random control"


def control_name(prefix: str) -> str:
    """ "permutation" of "control_permutation_"."""
    return prefix.removeprefix("control_").rstrip("_")
