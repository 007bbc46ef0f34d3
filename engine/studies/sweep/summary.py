"""The run in a table: a row a role and shape, medians over their matrices."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eigensweep.engine.report.spectrum import grouped, scalar, shown_control
from eigensweep.engine.report.style import aligned, number, percent, shorten
from eigensweep.engine.studies.sweep.study import Run

if TYPE_CHECKING:
    import pandas as pd

# Column of the summary -> (heading, what it is). Medians over the matrices whose status is ok.
HEADINGS = {
    "role": ("role", "what the matrices do"),
    "matrices": ("matrices", "how many there are; n/N where only n of N have status ok"),
    "shape": ("shape", "m × n, y = W x"),
    "right_outliers": ("right", "singular values beyond the right edge; the control's in brackets"),
    "left_outliers": ("left", "singular values beyond the left edge; the control's in brackets"),
    "stable_rank": ("stable rank", "Σλ / λ₁"),
    "alpha": ("alpha", "exponent of the power-law tail of λ"),
    "rejected_share_right": (
        "rej. right",
        "share of right singular vectors unlike random directions (one-scale null); control's",
    ),
    "rejected_share_left": (
        "rej. left",
        "share of left singular vectors unlike random directions (one-scale null); control's",
    ),
    "mean_p_right": ("p right", "mean p-value of the right singular vectors; 0.5 for noise"),
    "mean_p_left": ("p left", "mean p-value of the left singular vectors; 0.5 for noise"),
}
_SHARES = ("rejected_share_right", "rejected_share_left")
_WITH_CONTROL = ("right_outliers", "left_outliers", *_SHARES)


def summary_table(run: Run) -> "pd.DataFrame":
    """A row a role (a role of a few different shapes: a row a shape), in the order in which activations meet them.

    Returns:
      The columns of HEADINGS as numbers, `ok` (how many have statistics) after `matrices` (how many there are), and
      the outliers and shares of the first control with `control_<kind>_` in front; NaN where unknown.
    """
    import pandas as pd

    control = shown_control(run)
    columns = ["role", "matrices", "ok", *list(HEADINGS)[2:]]
    columns += [f"{control}{c}" for c in _WITH_CONTROL] if control else []
    groups = grouped(run.matrices.to_dict("records"))
    return pd.DataFrame([_summarise(rows, control) for rows in groups.values()], columns=columns)


def _summarise(rows: list[dict[str, Any]], control: str) -> dict[str, Any]:
    ok = [row for row in rows if row["status"] == "ok"]
    shapes = sorted({(int(r["m"]), int(r["n"])) for r in rows})
    result: dict[str, Any] = {
        "role": str(rows[0]["role"]),
        "matrices": len(rows),
        "ok": len(ok),
        "shape": f"{shapes[0][0]} × {shapes[0][1]}" if len(shapes) == 1 else f"{len(shapes)} shapes",
    }
    for prefix in dict.fromkeys(("", control)):
        for side in ("right", "left"):
            result[f"{prefix}{side}_outliers"] = _median(ok, f"{prefix}num_{side}_outliers")
            result[f"{prefix}rejected_share_{side}"] = _median(ok, f"{prefix}rejected_share_{side}")
    return result | {c: _median(ok, c) for c in ("stable_rank", "alpha", "mean_p_right", "mean_p_left")}


def _median(rows: list[dict[str, Any]], column: str) -> float:
    import numpy as np

    known = [x for x in (scalar(row, column) for row in rows) if math.isfinite(x)]
    return float(np.median(known)) if known else math.nan


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row of the summary as text, a cell a heading."""
    result = []
    for column in HEADINGS:
        if column == "role":
            text = shorten(str(row["role"]), 24)
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
    if column in _SHARES:
        return percent(value)
    return f"{value:.2f}" if column.startswith("mean_p") else number(value)


def render_summary(table: "pd.DataFrame") -> str:
    """The summary as aligned plain text for a terminal, medians by role, the control's values in brackets."""
    lines = [[heading for heading, _ in HEADINGS.values()]]
    lines += [cells(row) for row in table.to_dict("records")]
    return aligned(lines)
