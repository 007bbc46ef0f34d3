"""The overlap study: do the singular vectors outside the bulk meet the directions in which the activations vary?"""

from pathlib import Path

from eigensweep.engine.report import style
from eigensweep.engine.report.page import Picture, checkpoint_name, esc, gallery, table
from eigensweep.engine.report.registry import Panels, Reported, Section, register
from eigensweep.engine.studies.overlap import figure_covariances, summary
from eigensweep.engine.studies.overlap.figures import by_role, draw_overlap, title
from eigensweep.engine.studies.overlap.study import LAYOUT, Overlap, open_overlap

_OVERLAP = (
    "For every role the spectrum above and, below, the overlap of its right singular vectors with the axes of the "
    "activations; edges dashed, means over bins in black."
)
_COVARIANCES = "Eigenvalues of F by rank, a panel a kind of input, a line a block."


def panels(found: Overlap, directory: Path) -> Panels:
    """Draw the study's figures into `directory`/figures; what the page shows of it."""
    groups, shown, folder = by_role(found), [], directory / "figures"
    if groups:
        shown.append(Picture(style.save(draw_overlap(groups), folder / "overlap"), *title(groups), _OVERLAP))
    covariances = style.save(figure_covariances.draw(found), folder / "covariances")
    shown.append(Picture(covariances, *figure_covariances.title(found), _COVARIANCES))
    frame = summary.overlap_table(found)
    headings = [f'<abbr title="{esc(what)}">{esc(name)}</abbr>' for name, what in summary.HEADINGS.values()]
    rows = [[esc(cell) for cell in summary.cells(row)] for row in frame.to_dict("records")]
    section = Section("Overlap with activations", gallery(shown) + table(headings, rows))
    absent = found.manifest.get("without_activations", [])
    warnings = [f"{len(absent)} matrices met no activations: {', '.join(absent)}"] if absent else []
    return Panels(f"Overlap with activations of {checkpoint_name(found)}", [section], warnings)


REPORTED = register(Reported(LAYOUT, open_overlap, panels))
