"""The facts study: what the numbers of a model look like."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.facts.charts import charts
from eigensweep.engine.studies.facts.depth_summary import norm_table, rank_table
from eigensweep.engine.studies.facts.figures import figures
from eigensweep.engine.studies.facts.outlier_summary import outlier_table
from eigensweep.engine.studies.facts.study import LAYOUT, Facts, open_facts
from eigensweep.engine.studies.facts.summary import HEADINGS, cells, facts_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_of(found: Facts) -> View:
    """What the page shows of the study."""
    rows = [cells(row) for row in facts_table(found).to_dict("records")]
    tables = [Table("Distributions", [*HEADINGS.values()], rows)]
    if len(found.outliers):
        tables.append(outlier_table(found))
    tables += [*filter(None, [norm_table(found)]), rank_table(found)]
    return View(
        f"Facts of {checkpoint_name(found)}", tables=tables, data={"charts": as_data([*charts(found).values()])}
    )


def figures_of(found: Facts) -> Mapping[str, Callable[[], "Figure"]]:
    """Its charts for papers."""
    return figures(found)


REPORTED = register(Reported(LAYOUT, open_facts, view_of, figures_of))
