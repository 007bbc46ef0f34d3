"""What the report shows of a sweep beside its matrices: its findings, its summary, its tests as one family."""

from eigensweep.engine.report.registry import Table, View
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.report.style import shorten
from eigensweep.engine.studies.sweep import family, summary
from eigensweep.engine.studies.sweep.findings import findings
from eigensweep.engine.studies.sweep.study import Run

_SUMMARY = (
    "Medians over the matrices of a role, ranges in brackets; a role of many shapes has no medians. Right and left: "
    "singular values beyond the edges of the Marchenko–Pastur bulk, as the matrix is: there the null is entries of one "
    "scale, from which rows or columns of different scale depart, too. Control: the same count of the random control. "
    "Beyond signs: values beyond what the same entries with random signs reach, whatever their scales. Equalised: the "
    "matrix with its rows and columns brought to one scale. Where the law does not fit, counts beyond its edges "
    "describe, and only those beyond random signs are a test. Right and left vectors: the share of singular vectors "
    "whose entries do not look like a random direction's."
)


def view_of(run: Run) -> View:
    """What the page shows of a sweep."""
    failed = run.matrices[run.matrices["status"] != "ok"]
    warnings = [f"{shorten(row.name, 200)}: {row.status}" for row in failed[["name", "status"]].itertuples(index=False)]
    swept = f"{len(run.matrices)} swept, {len(run.manifest.get('skipped', []))} tensors left out"
    return View(
        f"Weight spectra of {checkpoint_name(run)}",
        findings=findings(run),
        tables=[table for table in (_summary(run), _family(run)) if table.rows],
        warnings=warnings,
        facts={"matrices": swept},
    )


def _summary(run: Run) -> Table:
    frame = summary.summary_table(run)
    headings = [*summary.headings(frame.columns).values()]
    return Table("Summary by role", headings, [summary.cells(row) for row in frame.to_dict("records")], _SUMMARY)


def _family(run: Run) -> Table:
    """The run's tests as one family."""
    note = f"{family.NOTE.capitalize()}. Survive: rejected by Benjamini-Hochberg over all matrices of the run."
    rows = [family.cells(row) for row in family.family_table(run).to_dict("records")]
    return Table(family.CAPTION, [(name, "") for name in family.HEADINGS.values()], rows, note)
