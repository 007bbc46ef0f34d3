"""What the page shows of a comparison."""

from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Table, View
from eigensweep.engine.report.style import number, shorten
from eigensweep.engine.studies.compare import page, sentences, summary
from eigensweep.engine.studies.compare.charts import charts
from eigensweep.engine.studies.compare.study import Comparison

MOST_ROWS = 2000
_SIZE = (
    "Means over the pairs of matrices of a role, the largest sizes first; 95 %: bootstrap interval of the mean "
    "difference over the pairs. Size: in spreads of the measure over the matrices of the role in both runs."
)
_MOVED = (
    "Medians over the matrices of a role. As it is, beyond signs, equalised: how many singular values of W′ − W stand "
    "out of noise, in the three readings of a sweep. Right, left: overlap of the top singular subspaces."
)


def view_of(found: Comparison) -> View:
    """What the page shows of a comparison."""
    runs = found.runs
    names = " and ".join(shorten(run["run"], 60) for run in runs) if len(runs) < 3 else f"{len(runs)} runs"
    return View(
        f"Comparison of {names}" if len(runs) > 1 else f"Comparison within {names}",
        findings=sentences.findings(found),
        tables=[table for table in (_differences(found), _moved(found), _phases(found), _alone(found)) if table.rows],
        facts={"runs": {run["run"]: run["checkpoint"] for run in runs}, "pairs": len(found.pairs)},
        data={"charts": as_data(charts(found)), "compare": page.content(found)},
    )


def _differences(found: Comparison) -> Table:
    rows = summary.largest(summary.by_role(found), MOST_ROWS).to_dict("records")
    headings = [("pair of runs", ""), *((heading, "") for heading in summary.DIFFERENCES)]
    return Table(
        "Differences by role", headings, [[sentences.couple(r), *summary.cells_of_difference(r)] for r in rows], _SIZE
    )


def _moved(found: Comparison) -> Table:
    rows = summary.moved_by_role(found).to_dict("records")
    headings = [("pair of runs", ""), *summary.MOVED_BY_ROLE.values()]
    return Table("What moved", headings, [[sentences.couple(r), *summary.cells_of_moved(r)] for r in rows], _MOVED)


def _phases(found: Comparison) -> Table:
    rows = summary.phases_changed(found).to_dict("records")
    headings = [(heading, "") for heading in ("pair of runs", "role", "phase", "phase then", "pairs")]
    cells = [[sentences.couple(r), r["role"], r["phase"], r["phase_other"], number(r["pairs"])] for r in rows]
    return Table("Phases that changed", headings, cells, "Of the matrix as it is.")


def _alone(found: Comparison) -> Table:
    rows = [[run, name] for of in found.manifest["unmatched"] for run, names in of.items() for name in names]
    shown = list(map(list, dict.fromkeys(map(tuple, rows))))[:MOST_ROWS]
    return Table("Matrices without a partner", [("run", ""), ("matrix", "")], shown)
