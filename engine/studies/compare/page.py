"""What the page's tab of a comparison draws, packed as arrays: pairs, their differences, what moved, their spectra."""

from typing import Any

import numpy as np

from eigensweep.engine.report.charts import short_floats
from eigensweep.engine.studies.compare.study import Comparison
from eigensweep.engine.studies.compare.summary import LEADING
from eigensweep.engine.tables.matrices import with_controls

MOST_DIFFERENCES = 60_000  # on the page; the table has all
MOST_POINTS = 120_000  # of all spectra together
FEWEST_POINTS = 24
_DOCS = with_controls(equalised=True, signs=True)["matrices"]
_MOVED = {
    "relative": "relative", "cosine": "cosine", "changed": "share_changed", "directions": "num_directions",
    "raw": "delta_num_right_outliers", "signs": "delta_num_right_outliers_beyond_signs",
    "equalised": "delta_equalised_num_right_outliers", "rank": "delta_hard_rank", "right": "overlap_right",
    "left": "overlap_left", "null": "overlap_null_99_right", "nullLeft": "overlap_null_99_left",
    "sigma": "delta_sigma_bulk",
}  # fmt: skip


def content(found: Comparison) -> dict[str, Any]:
    """Everything that js/views/compare.js works with; pairs are meant by their place in the table `pairs`."""
    pairs = found.pairs
    keys = list(zip(pairs["run"], pairs["other"], pairs["pair"], strict=True))
    place = {key: i for i, key in enumerate(keys)}
    couples = list(dict.fromkeys((run, other) for run, other, _ in keys))
    numbers = {name: _numbers(pairs[name]) for name in ("block", "block_other", "depth", "depth_other")}
    shapes = {name: _numbers(pairs[name]) for name in ("m", "n", "m_other", "n_other", "sigma", "sigma_other")}
    texts = ("pair", "name_other", "role", "matched_by", "phase", "phase_other")
    return {
        "runs": [{"name": run["run"], "checkpoint": run["checkpoint"], "step": run["step"]} for run in found.runs],
        "couples": [{"run": run, "other": other} for run, other in couples],
        "pairs": {
            "size": len(keys),
            "couple": np.array([couples.index(key[:2]) for key in keys], np.uint16),
            **{name: [x if isinstance(x, str) else None for x in pairs[name]] for name in texts},
            **numbers,
            **shapes,
        },
        "differences": _differences(found, place),
        "moved": _moved(found, place),
        "spectra": _spectra(found, place),
    }


def _numbers(values: Any) -> np.ndarray:
    return short_floats(values.astype("Float64").to_numpy(np.float64, na_value=np.nan))


def _differences(found: Comparison, place: dict[Any, int]) -> dict[str, Any]:
    """The differences, the largest first; of very many only these."""
    table = found.comparison
    order = table["size"].abs().fillna(-1).sort_values(ascending=False, kind="stable").index
    shown = table.loc[order[:MOST_DIFFERENCES]]
    measures = list(dict.fromkeys(shown["measure"]))
    code = {name: i for i, name in enumerate(measures)}
    keys = zip(shown["run"], shown["other"], shown["pair"], strict=True)
    return {
        "all": len(table),
        "measures": [
            {"name": m, "doc": _DOCS[m].formula, "unit": _DOCS[m].unit, "leading": m in LEADING} for m in measures
        ],
        "pair": np.array([place[key] for key in keys], np.uint32),
        "measure": np.array([code[name] for name in shown["measure"]], np.uint16),
        "share": shown["per_value"].to_numpy(bool).astype(np.uint8),
        **{name: _numbers(shown[name]) for name in ("value", "value_other", "size")},
    }  # fmt: skip


def _moved(found: Comparison, place: dict[Any, int]) -> dict[str, Any]:
    table = found.moved
    keys = zip(table["run"], table["other"], table["pair"], strict=True)
    return {
        "pair": np.array([place[key] for key in keys], np.uint32),
        **{name: _numbers(table[column]) for name, column in _MOVED.items()},
        "by": [x if isinstance(x, str) else "" for x in table["directions_by"]],
        "verdict": [
            x if isinstance(x, str) else status
            for x, status in zip(table["delta_mp_verdict"], table["status"], strict=True)
        ],
        "angles": [
            {side: short_floats(_list(row)) for side, row in zip(("right", "left"), both, strict=True)}
            for both in zip(table["angles_right"], table["angles_left"], strict=True)
        ],
    }  # fmt: skip


def _spectra(found: Comparison, place: dict[Any, int]) -> dict[str, Any]:
    """Of every pair three lists (W, W', W' - W), thinned alike: how many values, how many are kept, index and value."""
    third = {
        place[key]: values
        for *key_parts, values in zip(
            *(found.moved[c] for c in ("run", "other", "pair")), found.moved["delta_singular_values"], strict=True
        )
        for key in [tuple(key_parts)]
    }
    lists = [
        _list(values)
        for i, both in enumerate(zip(found.pairs["singular_values"], found.pairs["singular_values_other"], strict=True))
        for values in (*both, third.get(i))
    ]
    most = max(FEWEST_POINTS, MOST_POINTS // max(1, sum(x.size > 0 for x in lists)))
    kept = [_kept(x.size, most) for x in lists]
    return {
        "size": np.array([x.size for x in lists], np.uint32),
        "count": np.array([k.size for k in kept], np.uint32),
        "index": np.concatenate([np.empty(0, np.uint32), *kept]).astype(np.uint32),
        "value": short_floats(np.concatenate([np.empty(0), *(x[k] for x, k in zip(lists, kept, strict=True))])),
    }


def _list(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64) if np.ndim(values) == 1 else np.empty(0)


def _kept(size: int, most: int) -> np.ndarray:
    """All places, or an even choice with twice as many at the upper end."""
    if size <= most:
        return np.arange(size)
    even = np.linspace(0, size - 1, most - most // 3).round()
    top = np.geomspace(1, size, most // 3).round() - 1
    return np.unique(np.concatenate([even, top])).astype(int)
