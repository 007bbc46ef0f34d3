"""What a comparison shows, in sentences of numbers: headlines of its figures and charts, and its findings."""

import numpy as np

from eigensweep.engine.report.registry import Finding
from eigensweep.engine.report.style import number, percent, shorten
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg
from eigensweep.engine.studies.compare.study import Comparison
from eigensweep.engine.studies.compare.summary import by_role, largest, moved_by_role

Said = tuple[str, str]
_TESTS = {
    "delta_equalised_p_largest": "with rows and columns of one scale",
    "delta_signs_p_right": "beyond random signs",
}


def couple(row: "dict") -> str:
    """ "run → other", or the run alone where it is held against itself."""
    run, other = shorten(str(row["run"]), 40), shorten(str(row["other"]), 40)
    return run if run == other else f"{run} → {other}"


def differences(found: Comparison) -> Said:
    """Which role differs most, in which measure."""
    rows = largest(by_role(found), 1)
    note = f"{len(found.pairs)} pairs of matrices; size: in spreads of the measure over the matrices of the role"
    if not len(rows) or not np.isfinite(rows["size"].iloc[0]):
        return "the runs differ in no measure that has a spread", note
    row = rows.to_dict("records")[0]
    return (
        f"{row['role']}: {row['measure'].replace('_', ' ')} {number(row['value'])} in {shorten(row['run'], 24)}, "
        f"{number(row['value_other'])} in {shorten(row['other'], 24)}",
        note,
    )


def moved(found: Comparison) -> Said:
    """Which role moved most, which least."""
    table = moved_by_role(found)
    table = table[np.isfinite(table["relative"])]
    note = f"{len(found.moved)} matrices; |W′ − W| / |W|, medians over the matrices of a role"
    if table.empty:
        return "no matrix has a norm to move by", note
    most, least = table.loc[table["relative"].idxmax()], table.loc[table["relative"].idxmin()]
    if most["relative"] == 0:
        return "no matrix moved", note
    text = f"{most['role']} moved most, by {percent(most['relative'])} of its norm"
    if most["role"] != least["role"]:
        text += f", {least['role']} least, by {percent(least['relative'])}"
    return text, f"{note}; {couple(most.to_dict())}"


def overlap(found: Comparison) -> Said:
    """How far the top subspaces stayed."""
    known = found.moved[np.isfinite(found.moved["overlap_right"])]
    middle, null = float(known["overlap_right"].median()), float(known["overlap_null_right"].median())
    k = known["k"].astype("Float64").median()
    return (
        f"the top right subspaces overlap by {number(middle)} in the median, random ones by {number(null)}",
        f"{len(known)} matrices; mean cos² of the principal angles of the top {number(float(k))} singular vectors",
    )


def medians(found: Comparison, heading: str) -> Said:
    """In which role a measure's median changes most from the first run to the last; `heading` is its name in words."""
    runs = list(dict.fromkeys(found.spread["run"]))
    of = found.spread[found.spread["measure"].str.replace("_", " ") == heading]
    first, last = (of[of["run"] == run].set_index("role")["median"] for run in (runs[0], runs[-1]))
    change = (last - first).dropna()
    note = "medians over the blocks of a model"
    if change.empty:
        return "no role is in both the first and the last run", note
    role = change.abs().idxmax()
    values = [f"{number(x[role])} in {shorten(run, 24)}" for x, run in ((first, runs[0]), (last, runs[-1]))]
    return f"{role}: {', '.join(values)}", note


def spreads(found: Comparison) -> Said:
    """How often the last run's blocks lie closer together than the first's."""
    runs = list(dict.fromkeys(found.spread["run"]))
    note = "interquartile range over the blocks / median; a description of these models, no test"
    first, last = (
        found.spread[found.spread["run"] == run].set_index(["role", "measure"])["spread"] for run in (runs[0], runs[-1])
    )
    both = first.to_frame("first").join(last.rename("last"), how="inner").dropna()
    if both.empty:
        return "no measure has a spread over the blocks of both the first and the last run", note
    closer = int((both["last"] < both["first"]).sum())
    return (
        f"{closer} of {len(both)} measures of a role are steadier over the blocks of {shorten(runs[-1], 24)} "
        f"than of {shorten(runs[0], 24)}",
        note,
    )


def findings(found: Comparison) -> list[Finding]:
    """In how many differences a direction stands out of noise, by Benjamini-Hochberg over the whole comparison."""
    result = []
    level = float(found.manifest["options"]["level"])
    for column, how in _TESTS.items():
        p = found.moved[column].to_numpy(float)
        tested = int(np.isfinite(p).sum())
        if not tested:
            continue
        there = int(np.asarray(benjamini_hochberg(p, level)).sum())
        result.append(
            Finding(
                f"In {there} of {tested} matrices the change has directions that noise has not, {how}",
                f"Largest singular value of W′ − W; Benjamini-Hochberg at level {level:g} over all matrices compared.",
                {"view": "compare"},
            )
        )
    return result
