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

# Column of the summary -> (heading, what it is). Medians over the matrices whose status is ok.
HEADINGS = {
    "role": ("role", "what the matrices do, and in which tower; (guessed): their names suggest it"),
    "matrices": ("matrices", "how many there are; n/N where only n of N have status ok"),
    "shape": ("shape", "m × n, y = W x"),
    "right_outliers": ("right", "singular values beyond the right edge, as it is; the control's in brackets"),
    "right_beyond_signs": ("signs", "singular values above what the same entries with random signs reach"),
    "equalised_right_outliers": ("equal.", "beyond the right edge once rows and columns have one scale"),
    "left_outliers": ("left", "singular values beyond the left edge, as it is; the control's in brackets"),
    "left_beyond_signs": ("signs", "singular values below what the same entries with random signs reach"),
    "equalised_left_outliers": ("equal.", "beyond the left edge once rows and columns have one scale"),
    "fits": ("fits", "matrices whose bulk the Marchenko–Pastur law describes, in the last of the readings"),
    "rejected_share_right": (
        "rej. right",
        "share of right singular vectors unlike random directions, as it is; control's",
    ),
    "equalised_rejected_share_right": ("equal.", "the same once rows and columns have one scale"),
    "rejected_share_left": (
        "rej. left",
        "share of left singular vectors unlike random directions, as it is; control's",
    ),
    "equalised_rejected_share_left": ("equal.", "the same once rows and columns have one scale"),
    "stable_rank": ("stable rank", "Σλ / λ₁"),
    "alpha": ("alpha", "exponent of the power-law tail of λ"),
}
_MEASURES = ("stable_rank", "alpha", "mean_p_right", "mean_p_left")
_WITH_CONTROL = ("right_outliers", "left_outliers", "rejected_share_right", "rejected_share_left")
_SIDES = ("right", "left")


def summary_table(run: Run) -> "pd.DataFrame":
    """A row a role and tower (of a few different shapes: a row a shape), in the order in which activations meet them.

    Returns:
      The columns of HEADINGS as numbers as far as the run has the readings, `ok` (how many have statistics) after
      `matrices` (how many there are), mean p-values, and the outliers and shares of the first control with
      `control_<kind>_` in front; NaN where unknown.
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
    prefixes = tuple(dict.fromkeys(("", equalised, control)))
    for side in _SIDES:
        for prefix in prefixes:
            result[f"{prefix}{side}_outliers"] = _median(ok, f"{prefix}num_{side}_outliers")
            result[f"{prefix}rejected_share_{side}"] = _median(ok, f"{prefix}rejected_share_{side}")
        if f"num_{side}_outliers_beyond_signs" in columns:
            result[f"{side}_beyond_signs"] = _median(ok, f"num_{side}_outliers_beyond_signs")
    p = [scalar(row, f"{equalised}mp_gof_p") for row in ok]
    result["fits"] = sum(x > level for x in p) if np.isfinite(p).any() else math.nan
    return result | {c: _median(ok, c) for c in _MEASURES}


def _median(rows: list[dict[str, Any]], column: str) -> float:
    known = [x for x in (scalar(row, column) for row in rows) if math.isfinite(x)]
    return float(np.median(known)) if known else math.nan


def headings(columns: Any) -> dict[str, tuple[str, str]]:
    """The entries of HEADINGS that a summary with these columns has."""
    return {column: heading for column, heading in HEADINGS.items() if column in columns}


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row of the summary as text, a cell a heading."""
    result = []
    for column in headings(row):
        if column == "role":
            text = shorten(str(row["role"]), 40)
        elif column == "matrices":
            text = str(row["matrices"]) if row["ok"] == row["matrices"] else f"{row['ok']}/{row['matrices']}"
        elif column == "shape":
            text = str(row["shape"])
        else:
            text = _number(column, row[column])
            control = next((key for key in row if key.startswith("control_") and key.endswith(column)), "")
            if column in _WITH_CONTROL and control and math.isfinite(row[control]):
                text += f" ({_number(column, row[control])})"
        result.append(text)
    return result


def _number(column: str, value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return percent(value) if "share" in column else number(value)


def render_summary(table: "pd.DataFrame") -> str:
    """The summary as aligned plain text for a terminal, medians by role, the control's values in brackets."""
    lines = [[heading for heading, _ in headings(table.columns).values()]]
    lines += [cells(row) for row in table.to_dict("records")]
    return aligned(lines)
