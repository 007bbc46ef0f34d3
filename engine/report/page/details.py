"""What the page shows of single matrices beside their series: where noise ends, and a few vectors' entries.

Entries are kept by the sweep as histograms (`tables.kept`). In large runs they are made coarser and fewer, so that
the page stays within its size; the vectors with the largest D, of which the tests speak, are the last to go.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.spectrum import scalar
from eigensweep.engine.tables.kept import BINS, END
from eigensweep.engine.tables.matrices import EQUALISED
from eigensweep.engine.tables.result import Result

SIDES = ("right", "left")
COARSE, FEW = 100, 300  # matrices from which on bins are joined in pairs, and two vectors a side are shown
MOST_LENGTHS = 60  # of vectors whose null is drawn
NULL_GRID = np.linspace(0.2, 3.0, 113)  # of sqrt(n) D


def packed_details(result: Result, prefixes: Sequence[str]) -> dict[str, Any] | None:
    """Thresholds of every matrix and reading (matrices outer), kept vectors of every matrix and side, nulls of D.

    Returns:
      `threshold`: what entries of one scale reach, left and right, in units of sigma sqrt(max(m, n)), NaN where there
      is no test.
      `kept`: `count` of vectors a matrix and side (right, left); of each vector `index`, `d`, `p`, and one after
      another `counts`: below -end, `bins` bins, from end on, of its entries times sqrt(n); None where no run has them.
      `null`: for each length `n` the grid `t` of sqrt(n) D and `log_p` = ln P(sqrt(n) D >= t).
      None without spectra.
    """
    if "spectra" not in result.tables:
        return None
    rows = result.frame("matrices").to_dict("records")
    vectors = {row["name"]: row for row in result.frame("spectra").to_dict("records")}
    lists = [vectors.get(row["name"], {}) for row in rows]
    level = float(result.manifest.get("options", {}).get("level", 0.01))
    limits = [x for row in rows for prefix in prefixes for x in _thresholds(row, prefix, level)]
    return {
        "threshold": np.array(limits, np.float32),
        "kept": _kept(rows, lists),
        "null": _nulls(sorted({int(row[side]) for row in rows if row["status"] == "ok" for side in ("m", "n")})),
    }


def _thresholds(row: Mapping[str, Any], prefix: str, level: float) -> tuple[float, float]:
    from eigensweep.engine.spectral import edges
    from eigensweep.engine.spectral.null import equalised

    m, n, left, right = int(row["m"]), int(row["n"]), edges.left_threshold, edges.right_threshold
    if prefix == EQUALISED:
        m, n = (size - int(np.nan_to_num(scalar(row, name))) for size, name in ((m, "zero_rows"), (n, "zero_columns")))
        left, right = equalised.left_threshold, equalised.right_threshold
    if row["status"] != "ok" or min(m, n) < 1 or math.isnan(scalar(row, f"{prefix}num_right_outliers")):
        return math.nan, math.nan
    unit = math.sqrt(max(m, n))
    return left(m, n, level) / unit, right(m, n, level) / unit


def _kept(rows: Sequence[Mapping[str, Any]], lists: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not any("kept_right" in of for of in lists):
        return None
    join, most = 2 if len(rows) >= COARSE else 1, 2 if len(rows) >= FEW else None
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("index", "d", "p", "counts")}
    number = []
    for of in lists:
        for side in SIDES:
            index = np.asarray(_value(of, f"kept_{side}"), np.int64)
            counts = np.asarray(_value(of, f"kept_{side}_counts"), np.int64).reshape(index.size, -1)
            d, p = (np.asarray(_value(of, f"{x}_{side}"), np.float64)[index] for x in ("ks", "p"))
            shown = np.sort(np.argsort(-d, kind="stable")[:most])
            number.append(shown.size)
            ends = counts[shown][:, :1], counts[shown][:, -1:]
            bins = counts[shown][:, 1:-1].reshape(shown.size, BINS // join, join).sum(axis=2)
            found["counts"].append(np.concatenate([ends[0], bins, ends[1]], axis=1).ravel())
            for name, values in (("index", index), ("d", d), ("p", p)):
                found[name].append(values[shown])
    kinds = {"index": np.uint32, "d": np.float32, "p": np.float32, "counts": np.uint32}
    arrays = {name: np.concatenate(parts).astype(kinds[name]) for name, parts in found.items()}
    return {"count": np.array(number, np.uint8), "bins": BINS // join, "end": END, **arrays}


def _nulls(lengths: Sequence[int]) -> list[dict[str, Any]]:
    """The null of D for the lengths that the shipped table serves."""
    from eigensweep.engine.spectral.null import table

    served = [n for n in lengths if n >= table.smallest_n()][:MOST_LENGTHS]
    grid = NULL_GRID.astype(np.float32)
    return [
        {"n": n, "t": grid, "log_p": np.interp(NULL_GRID, table.load().t, table.log_p_row(n)).astype(np.float32)}
        for n in served
    ]


def _value(lists: Mapping[str, Any], column: str) -> Any:
    value = lists.get(column)
    return [] if value is None or np.ndim(value) != 1 else value
