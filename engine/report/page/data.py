"""What the page shows of a run directory, as one mapping of texts, numbers and arrays; `packing` makes it a blob."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.page.details import packed_details
from eigensweep.engine.report.page.spectra import packed_spectra
from eigensweep.engine.report.registry import View
from eigensweep.engine.tables.columns import COUNT, Column, Columns, label
from eigensweep.engine.tables.groups import labelled
from eigensweep.engine.tables.matrices import CONTROLS, EQUALISED, control_prefix, with_controls
from eigensweep.engine.tables.result import Result

MOST_WARNINGS = 20
MANY = 600  # matrices; of more, floats keep 16 of float32's 24 bits: five digits
_SHOWN_ELSEWHERE = ("study", "skipped", "warnings", "without_activations")

_EVERY_COLUMN = with_controls(tuple(CONTROLS), equalised=True, signs=True)["matrices"]
_NO_MATRICES: dict[str, Any] = {
    "size": 0, "roles": [], "columns": {}, "rows": {}, "readings": [], "level": 0.01, "spectra": None,
    "details": None,
}  # fmt: skip


def content(shown: Sequence[tuple[Result, View]], tables: Mapping[str, Columns]) -> dict[str, Any]:
    """Everything the page's script works with.

    Args:
      shown: results with what the page shows of them, the main one first.
      tables: the columns to explain, by table.
    """
    main = next((result for result, _ in shown if _has_matrices(result)), None)
    return {
        "title": shown[0][1].title,
        "facts": _facts(shown),
        "warnings": _warnings(shown),
        "findings": [f.__dict__ for _, view in shown for f in view.findings],
        "studies": [_study(result, view) for result, view in shown],
        "settings": [_settings(result) for result, _ in shown],
        "documents": {name: _explained(c) for name, c in tables.items() if main is None or name != "matrices"},
        **(_matrices(main, tables) if main else _NO_MATRICES),
    }


def _has_matrices(result: Result) -> bool:
    table = result.tables.get("matrices")
    return table is not None and {"name", "role", "m", "n", "status"} <= set(table.column_names)


def _matrices(result: Result, tables: Mapping[str, Columns]) -> dict[str, Any]:
    import pandas as pd

    frame, roles = labelled(result.frame("matrices"))
    known = {**_EVERY_COLUMN, **tables.get("matrices", {})}
    columns, rows = {}, {}
    for name in frame.columns:
        column, values = known.get(name, Column("", "", "")), frame[name]
        if not pd.api.types.is_numeric_dtype(values) and any(isinstance(x, str) for x in values):
            kind, rows[name] = "text", _words([x if isinstance(x, str) else None for x in values])
        else:
            numbers = values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
            kind = "count" if column.dtype == COUNT or values.dtype.kind in "iu" else "float"
            rows[name] = _numbers(numbers, len(frame))
        columns[name] = {
            "type": kind, "unit": column.unit, "doc": column.formula, "source": column.source,
            "label": label({name: column}, name),
        }  # fmt: skip
    return {
        "size": len(frame),
        "roles": roles,
        "columns": columns,
        "rows": rows,
        "readings": [{"prefix": p, "label": what} for p, what in _readings(frame.columns).items()],
        "level": float(result.manifest.get("options", {}).get("level", 0.01)),
        "spectra": packed_spectra(result, tuple(_readings(frame.columns))),
        "details": packed_details(result, tuple(_readings(frame.columns))),
    }


def _readings(columns: Sequence[str]) -> dict[str, str]:
    """The prefixes of the readings that there are, and what they are of."""
    known = {"": "as it is", EQUALISED: "rows and columns of one scale"}
    known |= {control_prefix(kind): what for kind, what in CONTROLS.items()}
    return {prefix: what for prefix, what in known.items() if f"{prefix}num_right_outliers" in columns}


def _numbers(values: np.ndarray, rows: int) -> np.ndarray:
    """Numbers as the page holds them: float32, in double where that would not do; of many rows five digits."""
    with np.errstate(over="ignore", under="ignore"):
        short = values.astype(np.float32)
    exact = np.isnan(values) | (short == values)
    whole = np.isnan(values) | (values == np.round(values))
    small = (short == 0) & (values != 0)
    if (np.isinf(short) & ~np.isinf(values)).any() or small.any() or (whole.all() and not exact.all()):
        return values
    if rows <= MANY or exact.all():
        return short
    bits = short.view(np.uint32)
    finite = np.isfinite(short)
    return np.where(finite, (bits + 0x80) & np.uint32(0xFFFFFF00), bits).astype(np.uint32).view(np.float32)


def _words(values: list[str | None]) -> Any:
    """Texts; few different ones as a list and places in it, 0 for none."""
    different = list(dict.fromkeys(v for v in values if v is not None))
    if 2 * len(different) > len(values) and len(values) > 4:
        return values
    place = {word: i + 1 for i, word in enumerate(different)}
    kind = np.uint8 if len(different) < 255 else np.uint16 if len(different) < 65535 else np.uint32
    return {"words": different, "places": np.array([place.get(v, 0) if v is not None else 0 for v in values], kind)}


def _facts(shown: Sequence[tuple[Result, View]]) -> list[tuple[str, str]]:
    manifest = shown[0][0].manifest
    identity = manifest.get("checkpoint", {})
    facts: dict[str, Any] = {"checkpoint": identity.get("source"), "kind": None, "sha256": identity.get("sha256")}
    if "kind" in identity:
        facts["kind"] = f"{identity['kind']}, architecture {identity.get('architecture', 'unknown')}"
    for _, view in shown:
        facts |= view.facts
    facts["options"] = manifest.get("options")
    if "eigensweep" in manifest:
        facts["made with"] = f"eigensweep {manifest['eigensweep']}"
    return [(name, flat(fact)) for name, fact in facts.items() if fact is not None]


def _warnings(shown: Sequence[tuple[Result, View]]) -> list[str]:
    found = [str(w) for result, view in shown for w in (*result.manifest.get("warnings", ()), *view.warnings)]
    warnings = list(dict.fromkeys(found))
    more = len(warnings) - MOST_WARNINGS
    return [*warnings[:MOST_WARNINGS], f"and {more} more, see the tables"] if more > 0 else warnings


def _study(result: Result, view: View) -> dict[str, Any]:
    return {"name": result.study, "title": view.title, "tables": [t.__dict__ for t in view.tables], "data": view.data}


def _explained(columns: Columns) -> list[list[str]]:
    return [[name, column.unit, column.formula, column.source] for name, column in columns.items()]


def _settings(result: Result) -> dict[str, Any]:
    entries = [(k, flat(v)) for k, v in result.manifest.items() if k not in _SHOWN_ELSEWHERE]
    skipped = [
        [s["name"], " × ".join(map(str, s["shape"])), s["dtype"], s["reason"]]
        for s in result.manifest.get("skipped", ())
    ]
    return {"study": result.study, "entries": entries, "skipped": skipped}


def flat(value: Any) -> str:
    """A manifest's value as text, nested ones as `a: b, ...`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {flat(v)}" for k, v in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(flat(v) for v in value) or "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
