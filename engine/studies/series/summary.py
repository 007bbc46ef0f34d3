"""A series in numbers: a row a step, and every measure by role over the steps."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.style import aligned, number, percent
from eigensweep.engine.spectral.phases import PHASES
from eigensweep.engine.studies.series.study import Series
from eigensweep.engine.tables.groups import labelled
from eigensweep.engine.tables.matrices import EQUALISED

if TYPE_CHECKING:
    import pandas as pd

# Column -> (heading, what it is).
HEADINGS = {
    "step": ("step", "training step"),
    "matrices": ("matrices", "how many there are with status ok"),
    "random_like": ("random-like", "share of those with a decided phase that read random-like"),
    "fits": ("fits", "share of those with a bulk whose bulk the Marchenko–Pastur law describes at the level"),
    "right": ("right", "singular values beyond the right edge of noise of one scale, all matrices together"),
    "left": ("left", "singular values beyond the left edge, all matrices together"),
    "energy_right": ("|W|² right", "share of |W|² in the values beyond the right edge, mean over matrices"),
    "stable_rank": ("stable", "stable rank, median over matrices"),
    "alpha": ("alpha", "exponent of the power-law tail, median over matrices"),
    "mean_p_right": (
        "p right",
        "mean p-value of the right singular vectors, median over matrices: 0.5 for random directions",
    ),
    "mean_p_left": ("p left", "the same of the left singular vectors"),
    "rejected": ("vectors", "share of singular vectors of both sides that are unlike random directions"),
}
_SHARES = ("random_like", "fits", "energy_right", "rejected")
MEASURES = {
    "num_right_outliers": "values beyond the right edge, sum",
    "num_left_outliers": "values beyond the left edge, sum",
    "energy_right": "|W|² beyond the right edge, mean",
    "energy_bulk": "|W|² in the bulk, mean",
    "stable_rank": "stable rank, median",
    "alpha": "power-law exponent α, median",
    "frobenius_norm": "Frobenius norm, median",
    "mean_p_right": "mean p, right vectors, median",
    "mean_p_left": "mean p, left vectors, median",
}
"""The columns whose course is drawn, with what is done over the matrices of a role."""


def reading_of(found: Series) -> str:
    """The prefix of the reading by which phases are told: equalised where the series has it, else the raw one."""
    return EQUALISED if f"{EQUALISED}phase" in found.matrices.columns else ""


def step_table(found: Series, prefix: str = "") -> "pd.DataFrame":
    """A row a step: the columns of HEADINGS as numbers, and the number of matrices in every phase.

    Args:
      prefix: of the reading: "" for the matrices as they are, "equalised_" with rows and columns of one scale.
    """
    import pandas as pd

    level = float(found.manifest.get("options", {}).get("level", 0.01))
    frame = found.matrices[found.matrices["status"] == "ok"]
    return pd.DataFrame([_row(int(step), part, prefix, level) for step, part in frame.groupby("step", sort=True)])


def _row(step: int, part: "pd.DataFrame", prefix: str, level: float) -> dict[str, Any]:
    def known(column: str) -> np.ndarray:
        if prefix + column not in part:
            return np.empty(0)
        numbers = part[prefix + column].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        return numbers[np.isfinite(numbers)]

    def over(combine: Any, column: str) -> float:
        values = known(column)
        return float(combine(values)) if values.size else np.nan

    words = [str(word) for word in part[f"{prefix}phase"]] if f"{prefix}phase" in part else []
    decided = [word for word in words if word in PHASES and word != "undecided"]
    return {
        "step": step,
        "matrices": len(part),
        "random_like": words.count("random-like") / len(decided) if decided else np.nan,
        "fits": over(lambda p: np.mean(p > level), "mp_gof_p"),
        "right": over(np.sum, "num_right_outliers"),
        "left": over(np.sum, "num_left_outliers"),
        "energy_right": over(np.mean, "energy_right"),
        "stable_rank": over(np.median, "stable_rank"),
        "alpha": over(np.median, "alpha"),
        "mean_p_right": over(np.median, "mean_p_right"),
        "mean_p_left": over(np.median, "mean_p_left"),
        "rejected": _rejected(known("rejected_right"), known("rejected_left"), part),
        **{phase: words.count(phase) for phase in PHASES},
    }


def _rejected(right: np.ndarray, left: np.ndarray, part: "pd.DataFrame") -> float:
    vectors = 2 * int(np.minimum(part["m"], part["n"]).sum())
    return float(right.sum() + left.sum()) / vectors if right.size and vectors else np.nan


def by_role(found: Series, column: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Role -> (steps, the measure): sums of counts, means of shares of |W|², else medians over the role's matrices."""
    frame = found.matrices[found.matrices["status"] == "ok"]
    if column not in frame:
        return {}
    frame, roles = labelled(frame)
    combine = "sum" if column.startswith("num_") else "mean" if column.startswith("energy") else "median"
    result = {}
    for role in roles:
        chosen = frame[frame["role"] == role]
        numbers = chosen[column].astype("Float64").astype(float)
        values = numbers.where(np.isfinite(numbers)).groupby(chosen["step"].astype(int))
        course = values.agg(combine) if combine != "sum" else values.sum(min_count=1)
        if np.isfinite(course.to_numpy(np.float64)).any():
            result[role] = (course.index.to_numpy(np.float64), course.to_numpy(np.float64))
    return result


def phases_in(table: "pd.DataFrame") -> list[str]:
    """The phases that some matrix has at some step."""
    return [phase for phase in PHASES if table[phase].any()]


def render(found: Series) -> str:
    """The table of steps for a terminal: measures, then phases in each reading."""
    raw = step_table(found)
    lines = [[heading for heading, _ in HEADINGS.values()], *map(cells, raw.to_dict("records"))]
    parts = [aligned(lines, left=0)]
    readings = {"": "as they are", EQUALISED: "rows and columns of one scale"}
    for prefix, what in readings.items():
        if f"{prefix}phase" in found.matrices.columns:
            parts.append(f"Phases, {what}\n{_phases(step_table(found, prefix))}")
    return "\n\n".join(parts)


def _phases(table: "pd.DataFrame") -> str:
    shown = phases_in(table)
    rows = [[str(row["step"]), *(str(row[phase] or "–") for phase in shown)] for row in table.to_dict("records")]
    return aligned([["step", *shown], *rows], left=0)


def cells(row: Mapping[str, Any]) -> list[str]:
    """One step as text, a cell a heading."""
    return [
        percent(row[c]) if c in _SHARES else f"{row[c]:.0f}" if c in ("step", "matrices") else number(row[c])
        for c in HEADINGS
    ]
