"""Runs beside each other by role: sums of counts and medians, a number a role and run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.spectrum import grouped, outliers_column, scalar
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.groups import group_of

_OTHERS = {
    "stable_rank": "stable rank, median",
    "alpha": "power-law exponent α, median",
    "mean_p_right": "mean p-value, right vectors",
    "mean_p_left": "mean p-value, left vectors",
}


def measures(runs: Sequence[Run]) -> dict[str, str]:
    """The columns compared, and their names; outliers beyond random signs where every run has them."""
    outliers = {}
    for side in ("right", "left"):
        columns = {outliers_column(run, side) for run in runs}
        column, name = columns.pop() if len(columns) == 1 else (f"num_{side}_outliers", f"{side} outliers")
        outliers[column] = f"{name}, sum"
    return outliers | _OTHERS


def series(runs: Sequence[Run], measure: str) -> dict[str, np.ndarray]:
    """`measure` by role over the runs: the sum of counts, else the median; NaN where a run has no such role."""
    combine = np.sum if measure.startswith("num_") else np.median
    result: dict[str, np.ndarray] = {}
    orders: dict[str, tuple[Any, ...]] = {}
    for i, run in enumerate(runs):
        for label, rows in grouped(run.matrices.to_dict("records")).items():
            orders[label] = group_of(rows[0]).order
            known = [x for row in rows if row["status"] == "ok" and np.isfinite(x := scalar(row, measure))]
            if known:
                result.setdefault(label, np.full(len(runs), np.nan))[i] = combine(known)
    return dict(sorted(result.items(), key=lambda item: orders[item[0]]))
