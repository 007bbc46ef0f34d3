"""Spectra and p-values as the page holds them: small, the bulk thinned where it must be, what a test found never.

A matrix's reading has one series of singular values and two of p-values (right, left). A series keeps all its indices
where there is room; else an even choice of them, besides every one that a test singled out: the outliers and both ends
of the spectrum, and the rejected vectors. Singular values are stored as 16 bits of their logarithm between the
smallest and the largest one (0: rounding), p-values as 16 bits of theirs: off by less than 3e-4 of themselves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.spectrum import NULL, scalar
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg
from eigensweep.engine.tables.result import Result

ENDS = 8  # values at either end that are always there
P_STEP = 3000  # codes a unit of ln p: 1e-9 is at 62,170
FEWEST = 24  # points of a series, whatever the number of matrices
_SIDES = ("right", "left")


def room(matrices: int) -> int:
    """Bytes for all series: half of what the page may have, 0.5 MB for 37 matrices, 1 MB for 226, 3 MB for 2,000."""
    return int(np.interp(matrices, [40, 226, 2000], [300e3, 400e3, 500e3]))


def packed_spectra(result: Result, prefixes: Sequence[str]) -> dict[str, Any] | None:
    """The series of every matrix and reading (matrices outer, readings inner), one after another.

    Returns:
      `size` (values of the spectrum, 0 where there is none), `values` and for each side `right`, `left`: `count`,
      `step` (between kept indices, the first from -1) and `code`; `low`, `high` (ln of the extremes) of the values;
      `mean` (255 times the averaged p-values) where indices were left out, and in `thinned` where they begin, from 1
      (0: none were left out). None without spectra.
    """
    if "spectra" not in result.tables:
        return None
    level = float(result.manifest.get("options", {}).get("level", 0.01))
    vectors = {row["name"]: row for row in result.frame("spectra").to_dict("records")}
    rows = result.frame("matrices").to_dict("records")
    found = [(row, vectors.get(row["name"], {}), prefix) for row in rows for prefix in prefixes]
    points = _points(len(rows), [_list(v, f"{p}singular_values").size for _, v, p in found])
    values = _Series(points)
    sides = {side: _Series(points) for side in _SIDES}
    sizes, low, high = [], [], []
    for row, lists, prefix in found:
        s = _list(lists, f"{prefix}singular_values") if row["status"] == "ok" else np.empty(0)
        bottom, top = _extremes(s)
        sizes.append(s.size)
        low.append(bottom)
        high.append(top)
        values.add(_special(row, prefix, s.size), _log_codes(s, bottom, top))
        for side, series in sides.items():
            p = _list(lists, f"{prefix}p_{side}") if s.size else s
            average = _list(lists, f"{prefix}p_{side}_avg") if s.size else s
            p = average if not p.size else p
            known = np.isfinite(p)
            rejected = known & benjamini_hochberg(p, level) if known.any() else known
            codes = np.rint(-np.log(np.clip(p, 1e-9, 1, where=known, out=np.ones_like(p))) * P_STEP)
            series.add(rejected, codes, known, average)
    return {
        "size": np.array(sizes, np.uint32),
        "values": values.packed() | {"low": np.array(low, np.float32), "high": np.array(high, np.float32)},
        **{side: series.packed() for side, series in sides.items()},
    }


class _Series:
    """Series of one kind, concatenated."""

    def __init__(self, points: int):
        self.points = points
        self.counts: list[int] = []
        self.steps: list[np.ndarray] = []
        self.codes: list[np.ndarray] = []
        self.means: list[np.ndarray] = []
        self.thinned: list[int] = []  # where a series' averages begin, from 1; 0 where all of it is there
        self.averaged = 0

    def add(
        self, special: np.ndarray, codes: np.ndarray, known: np.ndarray | None = None, mean: np.ndarray | None = None
    ) -> None:
        """One more: what of it must stay, its codes, which indices there are, and the averages."""
        keep = np.flatnonzero(known) if known is not None else np.arange(codes.size)
        whole = keep.size <= self.points
        if not whole:
            even = np.linspace(0, keep.size - 1, self.points).round().astype(int)
            keep = np.union1d(keep[even], np.flatnonzero(special))
        self.counts.append(keep.size)
        self.steps.append(np.diff(keep, prepend=-1))
        self.codes.append(codes[keep])
        self.thinned.append(0 if whole else self.averaged + 1)
        if mean is not None and not whole:
            self.means.append(np.rint(255 * np.clip(np.nan_to_num(mean[keep], nan=0.5), 0, 1)))
            self.averaged += keep.size

    def packed(self) -> dict[str, np.ndarray]:
        """The arrays."""
        codes, steps = (np.concatenate([np.empty(0), *x]) for x in (self.codes, self.steps))
        return {
            "count": np.array(self.counts, np.uint32),
            "step": steps.astype(np.uint8 if steps.max(initial=0) < 256 else np.uint32),
            "code": codes.astype(np.uint16),
            "thinned": np.array(self.thinned, np.uint32),
            "mean": np.concatenate([np.empty(0), *self.means]).astype(np.uint8),
        }


def _points(matrices: int, sizes: Sequence[int]) -> int:
    """How many points a series may have on average for all of them to fit; a point takes about four bytes."""
    most = max(sizes, default=0)
    series = 3 * max(1, sum(size > 0 for size in sizes))
    return most if 3 * sum(sizes) * 2 <= room(matrices) else max(FEWEST, room(matrices) // (4 * series))


def _special(row: Any, prefix: str, size: int) -> np.ndarray:
    """Which singular values must stay: both ends and the outliers by any test of this reading."""
    special = np.zeros(size, bool)
    names = [f"{prefix}num_{{}}_outliers"] + ([] if prefix else ["num_{}_outliers_beyond_signs"])
    for side, part in (("right", special), ("left", special[::-1])):
        counts = [np.nan_to_num(scalar(row, name.format(side))) for name in names]
        part[: max(ENDS, *map(int, counts), 0) + 1] = True
    return special


def _extremes(s: np.ndarray) -> tuple[float, float]:
    positive = s[s > NULL * s[0]] if s.size else s
    return (float(np.log(positive[-1])), float(np.log(positive[0]))) if positive.size else (0.0, 0.0)


def _log_codes(s: np.ndarray, low: float, high: float) -> np.ndarray:
    """1 to 65535 from ln s = low to high; 0 for what is rounding."""
    if not s.size:
        return s
    there = s > NULL * s[0]
    place = (np.log(np.where(there, s, 1)) - low) / ((high - low) or 1)
    return np.where(there, 1 + np.rint(65534 * np.clip(place, 0, 1)), 0)


def _list(vectors: Any, column: str) -> np.ndarray:
    value = vectors.get(column)
    return np.asarray(value, np.float64) if value is not None and np.ndim(value) == 1 else np.empty(0)
