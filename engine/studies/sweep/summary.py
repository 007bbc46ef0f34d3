"""The run in a table: a row a role and shape, medians over their matrices, the readings beside each other."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.spectrum import grouped, level_of, scalar, shown_control
from eigensweep.engine.report.style import aligned, number, percent, shorten
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.groups import group_of
from eigensweep.engine.tables.matrices import EQUALISED

if TYPE_CHECKING:
    import pandas as pd

# Column of the summary -> (heading, what it is); `control_` stands for the prefix of the run's first control.
HEADINGS = {
    "role": ("role", "what the matrices do"),
    "matrices": ("matrices", "how many there are; n/N where only n of N have status ok"),
    "shape": ("shape", "m × n, y = W x"),
    "fits": ("law fits", "matrices whose bulk the Marchenko–Pastur law describes, in the last of the readings"),
    "stable_rank": ("stable rank", "Σλ / λ₁"),
    "alpha": ("alpha", "exponent of the power-law tail of λ"),
    "right_outliers": ("right", "singular values beyond the right edge, as it is"),
    "control_right_outliers": ("control", "the same of the random control"),
    "right_beyond_signs": ("beyond signs", "singular values above what the same entries with random signs reach"),
    "equalised_right_outliers": ("equalised", "beyond the right edge once rows and columns have one scale"),
    "left_outliers": ("left", "singular values beyond the left edge, as it is"),
    "control_left_outliers": ("control", "the same of the random control"),
    "left_beyond_signs": ("beyond signs", "singular values below what the same entries with random signs reach"),
    "equalised_left_outliers": ("equalised", "beyond the left edge once rows and columns have one scale"),
    "rejected_share_right": ("right vectors", "share of right singular vectors unlike random directions, as it is"),
    "equalised_rejected_share_right": ("equalised", "the same once rows and columns have one scale"),
    "rejected_share_left": ("left vectors", "share of left singular vectors unlike random directions, as it is"),
    "equalised_rejected_share_left": ("equalised", "the same once rows and columns have one scale"),
}
_MEASURES = ("stable_rank", "alpha", "mean_p_right", "mean_p_left")
_SIDES = ("right", "left")
# The terminal's tables: what they say, and their columns.
_TABLES = {
    "Matrices, the law's fit and the tail": ("matrices", "shape", "fits", "stable_rank", "alpha"),
    "Singular values beyond the right edge": tuple(key for key in HEADINGS if "right_" in key and "share" not in key),
    "Singular values below the left edge": tuple(key for key in HEADINGS if "left_" in key and "share" not in key),
    "Share of singular vectors unlike random directions": tuple(key for key in HEADINGS if "share" in key),
}


def summary_table(run: Run) -> "pd.DataFrame":
    """A row a role and tower (of a few different shapes: a row a shape), in the order in which activations meet them.

    Returns:
      The columns of HEADINGS as numbers as far as the run has the readings: medians over the matrices whose status is
      ok, the smallest and largest of them in `<column>_min` and `<column>_max`; `ok` is how many these are. A role of
      many shapes is a mixture, and has no medians. The first control's columns are called by its kind
      (`control_signs_right_outliers`); NaN where unknown.
    """
    import pandas as pd

    groups, control = grouped(run.matrices.to_dict("records")), shown_control(run)
    level, columns = level_of(run), set(run.matrices.columns)
    return pd.DataFrame([_summarise(rows, columns, control, level) for rows in groups.values()])


def _summarise(rows: list[dict[str, Any]], columns: set[str], control: str, level: float) -> dict[str, Any]:
    ok = [row for row in rows if row["status"] == "ok"]
    shapes = sorted({(int(r["m"]), int(r["n"])) for r in rows})
    result: dict[str, Any] = {
        "role": group_of(rows[0]).label,
        "matrices": len(rows),
        "ok": len(ok),
        "shape": f"{shapes[0][0]} × {shapes[0][1]}" if len(shapes) == 1 else f"{len(shapes)} shapes",
    }
    equalised = EQUALISED if f"{EQUALISED}num_right_outliers" in columns else ""
    p = [scalar(row, f"{equalised}mp_gof_p") for row in ok]
    result["fits"] = sum(x > level for x in p) if np.isfinite(p).any() else math.nan
    taken = {c: c for c in _MEASURES}
    for side in _SIDES:
        for prefix in dict.fromkeys(("", equalised, control)):
            taken[f"{prefix}{side}_outliers"] = f"{prefix}num_{side}_outliers"
            taken[f"{prefix}rejected_share_{side}"] = f"{prefix}rejected_share_{side}"
        if f"num_{side}_outliers_beyond_signs" in columns:
            taken[f"{side}_beyond_signs"] = f"num_{side}_outliers_beyond_signs"
    for name, column in taken.items():
        known = [x for x in (scalar(row, column) for row in ok) if math.isfinite(x)]
        low, middle, high = (float(f(known)) for f in (min, np.median, max)) if known else [math.nan] * 3
        result |= {name: middle if len(shapes) == 1 else math.nan, f"{name}_min": low, f"{name}_max": high}
    return result


def _column(key: str, columns: Any) -> str:
    """The column of the summary that a heading stands for; "" where the run has none."""
    if not key.startswith("control_"):
        return key if key in columns else ""
    return next((c for c in columns if c.startswith("control_") and c.endswith(key.removeprefix("control"))), "")


def headings(columns: Any) -> dict[str, tuple[str, str]]:
    """The headings that a summary with these columns has, by column."""
    return {column: heading for key, heading in HEADINGS.items() if (column := _column(key, columns))}


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row of the summary as text, a cell a heading: the median, and behind it the range where there is one."""
    return [_cell(row, column) for column in headings(row)]


def _cell(row: Mapping[str, Any], column: str) -> str:
    if column == "role":
        return shorten(str(row["role"]), 40)
    if column == "matrices":
        return str(row["matrices"]) if row["ok"] == row["matrices"] else f"{row['ok']}/{row['matrices']}"
    if column == "shape":
        return str(row["shape"])
    show = percent if "share" in column else number
    middle, low, high = (row.get(f"{column}{end}", math.nan) for end in ("", "_min", "_max"))
    if not low < high:
        return show(middle)
    span = f"{show(low).removesuffix(' %')}–{show(high)}"
    return f"{show(middle)} ({span})" if math.isfinite(middle) else span


def render_summary(table: "pd.DataFrame") -> str:
    """The summary as plain text for a terminal of 100 columns: medians by role, ranges in brackets."""
    rows = table.to_dict("records")
    parts = []
    for title, keys in _TABLES.items():
        chosen = {c: HEADINGS[key][0] for key in keys if (c := _column(key, table.columns))}
        if all(_cell(row, column) == "–" for row in rows for column in chosen):
            continue
        lines = [["role", *chosen.values()], *([_cell(row, c) for c in ("role", *chosen)] for row in rows)]
        parts.append(f"{title}: medians, ranges in brackets\n{aligned(lines)}")
    return "\n\n".join(parts)
