"""Spectra and p-values as the page holds them: small, the bulk thinned where it must be, what a test found never.

A matrix's reading has one series of singular values and two of p-values (right, left). A series keeps all its indices
where there is room; else an even choice of them, besides every one that a test singled out: the outliers and both ends
of the spectrum, and the rejected vectors. Singular values are stored as 16 bits of their logarithm between the
smallest and the largest one (0: rounding), off by less than 2e-4 of themselves over nine decades. p-values are 16 bits
of their logarithm, off by as little, and 8 bits where series were thinned, off by 4 %; which are rejected is exact.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.page.series import COARSE, FINE, Series, joined, p_codes
from eigensweep.engine.report.spectrum import NULL
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg
from eigensweep.engine.tables.result import Result

ENDS = 8  # values at either end that are always there
FEWEST = 16  # points of a series, whatever the number of matrices
BYTES = 2  # a point in the blob, after compression
_SIDES = ("right", "left")


def room(matrices: int) -> int:
    """Bytes of the blob for all series; the page may have 0.5 MB for 37 matrices, 1 MB for 226, 3 MB for 2,000."""
    return int(np.interp(matrices, [40, 226, 2000], [420e3, 450e3, 900e3]))


def packed_spectra(result: Result, prefixes: Sequence[str]) -> dict[str, Any] | None:
    """The series of every matrix and reading (matrices outer, readings inner), one after another.

    Returns:
      `size` (values of a spectrum, 0 where there is none); `values` with `count`, `step` and `code` of its kept
      values, and `low`, `high` (ln of the extremes); for each side, `right` and `left`, besides these `cut` (the code
      from which on p is rejected), `thinned` and `mean` (`Series.averages`); `scale`, codes a unit of -ln p, which
      begin at 1. None without spectra.
    """
    if "spectra" not in result.tables:
        return None
    level = float(result.manifest.get("options", {}).get("level", 0.01))
    values, sides = Series(), {side: Series() for side in _SIDES}
    low, high = [], []
    for s, special, p_values in _readings(result, prefixes):
        bottom, top = _extremes(s)
        low.append(bottom)
        high.append(top)
        values.add(np.arange(s.size), special, _log_codes(s, bottom, top))
        for side, (p, average) in p_values.items():
            known = np.flatnonzero(np.isfinite(p))
            sides[side].add(known, benjamini_hochberg(p[known], level), p[known], average[known])
    every = [values, *sides.values()]
    points = _points(len(result.frame("matrices")), every)
    scale = FINE if all(index.size <= points for series in every for index in series.indices) else COARSE
    kept = values.kept(points)
    code = joined([c[keep] for c, keep in zip(values.numbers, kept, strict=True)], np.uint16)
    extremes = {"low": np.array(low, np.float32), "high": np.array(high, np.float32)}
    return {
        "size": np.array([index.size for index in values.indices], np.uint32),
        "scale": scale,
        "values": values.placed(kept) | extremes | {"code": code.astype(np.uint16)},
        **{side: _side(series, points, scale) for side, series in sides.items()},
    }


def _side(series: Series, points: int, scale: int) -> dict[str, np.ndarray]:
    kept, kind = series.kept(points), np.uint16 if scale == FINE else np.uint8
    coded = [p_codes(p, special, scale) for p, special in zip(series.numbers, series.specials, strict=True)]
    code = joined([codes[keep] for (codes, _), keep in zip(coded, kept, strict=True)], np.int64)
    cut = np.array([cut for _, cut in coded], kind)
    return series.placed(kept) | series.averages(kept) | {"code": code.astype(kind), "cut": cut}


def _readings(
    result: Result, prefixes: Sequence[str]
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]]:
    """Of every matrix and reading: singular values, which of them must stay, by side p-values and their averages."""
    frame, spectra = result.frame("matrices"), result.frame("spectra")
    place = {name: i for i, name in enumerate(spectra["name"])}
    lists = {name: spectra[name].to_numpy() for name in spectra.columns if name != "name"}
    counts = {
        name: np.nan_to_num(frame[name].astype("Float64").to_numpy(np.float64, na_value=np.nan)).astype(int)
        for name in frame.columns
        if "num_right_outliers" in name or "num_left_outliers" in name
    }
    for i, (name, status) in enumerate(zip(frame["name"], frame["status"], strict=True)):
        row = place.get(name) if status == "ok" else None
        for prefix in prefixes:
            s = _list(lists, f"{prefix}singular_values", row)
            p_values = {}
            for side in _SIDES:
                p, average = (_list(lists, f"{prefix}p_{side}{end}", row if s.size else None) for end in ("", "_avg"))
                p = p if p.size else average
                p_values[side] = p, average if average.size == p.size else p
            yield s, _special(counts, prefix, i, s.size), p_values


def _list(lists: dict[str, np.ndarray], column: str, row: int | None) -> np.ndarray:
    value = lists[column][row] if row is not None and column in lists else None
    return np.asarray(value, np.float64) if value is not None and np.ndim(value) == 1 else np.empty(0)


def _special(counts: dict[str, np.ndarray], prefix: str, i: int, size: int) -> np.ndarray:
    """Which singular values must stay: both ends and the outliers by any test of this reading."""
    special = np.zeros(size, bool)
    for side, part in (("right", special), ("left", special[::-1])):
        names = [f"{prefix}num_{side}_outliers"] + ([] if prefix else [f"num_{side}_outliers_beyond_signs"])
        part[: 1 + max([ENDS, *(counts[name][i] for name in names if name in counts)])] = True
    return special


def _points(matrices: int, every: Sequence[Series]) -> int:
    """How many points a series may have for all of them to fit beside those that must stay."""
    sizes = [index.size for series in every for index in series.indices]
    if BYTES * sum(sizes) <= room(matrices):
        return max(sizes, default=0)
    special = sum(int(special.sum()) for series in every for special in series.specials)
    return max(FEWEST, int((room(matrices) / BYTES - special) / sum(size > 0 for size in sizes)))


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
