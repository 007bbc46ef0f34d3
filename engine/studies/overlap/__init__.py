"""The overlap study: do the singular vectors outside the bulk meet the directions in which the activations vary?"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.overlap import figure_covariances, summary
from eigensweep.engine.studies.overlap.charts import charts
from eigensweep.engine.studies.overlap.figures import by_role, draw_overlap
from eigensweep.engine.studies.overlap.study import LAYOUT, Overlap, open_overlap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_of(found: Overlap) -> View:
    """What the page shows of the study."""
    rows = [summary.cells(row) for row in summary.overlap_table(found).to_dict("records")]
    absent = found.manifest.get("without_activations", [])
    return View(
        f"Overlap with activations of {checkpoint_name(found)}",
        tables=[
            Table("Overlap with activations", [*summary.HEADINGS.values()], rows),
            Table("First eigenvalues of F", [*summary.SHARES], summary.share_cells(found), summary.covariances(found)),
        ],
        data={"charts": as_data(charts(found))},
        warnings=[f"{len(absent)} matrices met no activations: {', '.join(absent)}"] if absent else [],
    )


def figures_of(found: Overlap) -> Mapping[str, Callable[[], "Figure"]]:
    """The spectra with their overlaps by role, and the activations' covariances."""
    groups = by_role(found)
    drawn: dict[str, Callable[[], Figure]] = (
        {"overlap": partial(draw_overlap, groups, found.centring)} if groups else {}
    )
    return drawn | {"covariances": partial(figure_covariances.draw, found)}


REPORTED = register(Reported(LAYOUT, open_overlap, view_of, figures_of))
