"""A comparison in tables: differences by role, what moved, which phases changed, how steady each model is."""

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.style import aligned, number, percent, shorten
from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.studies.compare.study import Comparison
from eigensweep.engine.tables.equalised import EQUALISED

if TYPE_CHECKING:
    import pandas as pd

LEADING = (
    "num_right_outliers", "num_right_outliers_beyond_signs", f"{EQUALISED}num_right_outliers", "num_left_outliers",
    "num_left_outliers_beyond_signs", f"{EQUALISED}num_left_outliers", "energy_right", "stable_rank",
    "effective_rank", "entropy", "alpha", "mp_ks", f"{EQUALISED}mp_ks", "rejected_share_right",
    "rejected_share_left", f"{EQUALISED}rejected_share_right", f"{EQUALISED}rejected_share_left", "frobenius_norm",
    "spectral_norm", "entries_kurtosis", "profile_rows", "profile_columns",
)  # fmt: skip
"""Measures that summaries choose from: of those that say the same one each."""
FEWEST = 3  # pairs of an interval
MOST = 15  # rows on a terminal
_ROLE = 20  # characters
BY_ROLE = ("run", "other", "role", "measure", "pairs", "value", "value_other", "difference", "low", "high", "size")


def by_role(found: Comparison) -> "pd.DataFrame":
    """A row a pair of runs, role and measure: the columns BY_ROLE, means over the pairs of matrices.

    low and high are the 95 % bootstrap interval of the mean difference over the pairs (NaN with fewer than 3): it
    covers the choice of matrices, as if they had been drawn, for the two checkpoints at hand.
    """
    import pandas as pd

    table = found.comparison
    options = found.manifest["options"]
    rows = []
    for key, group in table.groupby(["run", "other", "role", "measure"], sort=False):
        known = group[np.isfinite(group["difference"])]
        if known.empty:
            continue
        mean, low, high = float(known["difference"].mean()), math.nan, math.nan
        if len(known) >= FEWEST:
            change, weight = known["difference"].to_numpy(), np.ones(len(known))
            mean, low, high = paired_interval(change, weight, options["seed"], options["num_resamples"])
        means = [float(known[column].mean()) for column in ("value", "value_other")]
        rows.append([*key, len(known), *means, mean, low, high, float(known["size"].mean())])  # type: ignore[misc]
    return pd.DataFrame(rows, columns=list(BY_ROLE))


def largest(table: "pd.DataFrame", most: int | None = MOST) -> "pd.DataFrame":
    """The rows of `by_role` of the leading measures, the largest sizes first; without a size by difference / value."""
    rows = table[table["measure"].isin(LEADING)]
    relative = (rows["difference"] / rows["value"].abs().where(rows["value"] != 0)).abs()
    sizes = rows.assign(size=rows["size"].abs(), relative=relative)
    order = sizes.sort_values(["size", "relative"], ascending=False, na_position="last", kind="stable").index
    return rows.loc[order].head(most) if most else rows.loc[order]


MOVED_BY_ROLE = {
    "role": ("role", "what the matrices do"),
    "matrices": ("n", "pairs whose checkpoints were at hand"),
    "relative": ("moved", "median of |W′ − W| / |W|"),
    "largest": ("at most", "the largest of them"),
    "cosine": ("cosine", "median of the cosine between W and W′, entries as vectors"),
    "raw": ("raw", "median number of right outliers of W′ − W as it is"),
    "signs": ("signs", "the same beyond random signs"),
    "equalised": ("equalised", "the same with rows and columns of one scale"),
    "directions": ("directions", "median of num_directions: equalised, or the rank where nothing else is left"),
    "by": ("by", "what most of num_directions are from"),
    "overlap_right": ("right", "median overlap of the top right subspaces; 1: the same"),
    "overlap_left": ("left", "median overlap of the top left subspaces"),
    "null": ("random", "the larger 99 % quantile of both for random subspaces, median"),
}


_PAGE = ("largest", "equalised", "by")  # a terminal has no room for them


def moved_by_role(found: Comparison) -> "pd.DataFrame":
    """A row a pair of runs and role: run, other and the columns of MOVED_BY_ROLE; medians, NaN where unknown."""
    import pandas as pd

    columns = {
        "relative": "relative", "cosine": "cosine", "raw": "delta_num_right_outliers",
        "signs": "delta_num_right_outliers_beyond_signs", "equalised": f"delta_{EQUALISED}num_right_outliers",
        "directions": "num_directions", "overlap_right": "overlap_right", "overlap_left": "overlap_left",
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    for (run, other, role), group in found.moved.groupby(["run", "other", "role"], sort=False):
        row: dict[str, Any] = {"run": run, "other": other, "role": role, "matrices": len(group)}
        row |= {name: _median(group[column]) for name, column in columns.items()}
        row["largest"] = float(group["relative"].max())
        null = np.maximum(*(group[f"overlap_null_99_{side}"].to_numpy(float) for side in ("right", "left")))
        row["null"] = _median(pd.Series(null))
        ways = group["directions_by"].dropna()
        row["by"] = ways.mode().iloc[0] if len(ways) else "–"
        rows.append(row)
    return pd.DataFrame(rows, columns=["run", "other", *MOVED_BY_ROLE])


def _median(values: "pd.Series") -> float:
    known = values.astype("Float64").dropna()
    return float(known.median()) if len(known) else math.nan


def phases_changed(found: Comparison) -> "pd.DataFrame":
    """The pairs of matrices whose phase as it is is another: run, other, role, phase, phase_other, pairs."""
    pairs = found.pairs.dropna(subset=["phase", "phase_other"])
    changed = pairs[pairs["phase"] != pairs["phase_other"]]
    return (
        changed.groupby(["run", "other", "role", "phase", "phase_other"], sort=False).size().reset_index(name="pairs")
    )


def cells_of_difference(row: dict[str, Any]) -> list[str]:
    """One row of `by_role` as text: role, measure, pairs, both values, difference, interval, size."""
    interval = f"[{number(row['low'])}, {number(row['high'])}]" if math.isfinite(row["low"]) else "–"
    values = [number(row[column]) for column in ("value", "value_other", "difference")]
    return [shorten(row["role"], _ROLE), row["measure"], str(row["pairs"]), *values, interval, number(row["size"])]


DIFFERENCES = ("role", "measure", "n", "run", "other", "difference", "95 %", "size")


def cells_of_moved(row: dict[str, Any]) -> list[str]:
    """One row of `moved_by_role` as text, a cell a column of MOVED_BY_ROLE."""
    cells = []
    for column in MOVED_BY_ROLE:
        value = row[column]
        if isinstance(value, str):
            cells.append(shorten(value, _ROLE))
        elif column in ("relative", "largest"):
            cells.append(percent(value) if value < 10 else number(value))
        else:
            cells.append(number(value))
    return cells


def render(found: Comparison) -> str:
    """The comparison for a terminal: a part a pair of runs."""
    parts, roles = [], by_role(found)
    movement, phases = moved_by_role(found), phases_changed(found)
    for (run, other), pairs in found.pairs.groupby(["run", "other"], sort=False):
        of_pair = [x[(x["run"] == run) & (x["other"] == other)] for x in (roles, movement, phases)]
        ways = ", ".join(f"{count} by {way}" for way, count in pairs["matched_by"].value_counts().items())
        parts.append(f"{shorten(run, 44)} -> {shorten(other, 44)}: {len(pairs)} pairs ({ways})")
        if run == other:
            parts[-1] = f"{shorten(run, 60)}: {len(pairs)} blocks"
        if len(chosen := largest(of_pair[0])):
            lines = [list(DIFFERENCES), *(cells_of_difference(row) for row in chosen.to_dict("records"))]
            parts.append(aligned(_without(lines, DIFFERENCES, ("95 %",)), left=2))
        if len(of_pair[1]):
            lines = [[name for name, _ in MOVED_BY_ROLE.values()]]
            lines += [cells_of_moved(row) for row in of_pair[1].to_dict("records")]
            parts.append(aligned(_without(lines, tuple(MOVED_BY_ROLE), _PAGE)))
        if len(of_pair[2]):
            rows = of_pair[2].to_dict("records")
            said = [f"{row['role']} {row['pairs']} {row['phase']} -> {row['phase_other']}" for row in rows]
            parts.append(textwrap.fill("phases: " + "; ".join(said), 100, break_on_hyphens=False))
    return "\n\n".join(parts)


def _without(lines: list[list[str]], columns: tuple[str, ...], left_out: tuple[str, ...]) -> list[list[str]]:
    return [[cell for cell, name in zip(line, columns, strict=True) if name not in left_out] for line in lines]
