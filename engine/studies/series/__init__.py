"""The series: what changes in the weights of one training from checkpoint to checkpoint."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.series import courses, figures, summary
from eigensweep.engine.studies.series.charts import charts
from eigensweep.engine.studies.series.study import LAYOUT, Series, open_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_of(found: Series) -> View:
    """What the page shows of the series."""
    table = summary.step_table(found)
    rows = [summary.cells(row) for row in table.to_dict("records")]
    shown = [Table("Steps, matrices as they are", [*summary.HEADINGS.values()], rows)]
    for prefix in dict.fromkeys(("", summary.reading_of(found))):
        table = summary.step_table(found, prefix)
        phases = summary.phases_in(table)
        cells = [[str(row["step"]), *(str(row[phase]) for phase in phases)] for row in table.to_dict("records")]
        heading = f"Phases, {'rows and columns of one scale' if prefix else 'matrices as they are'}"
        shown.append(Table(heading, [("step", "training step"), *((phase, "") for phase in phases)], cells))
    return View(f"Series of {checkpoint_name(found)}", tables=shown, data={"charts": as_data(charts(found))})


def figures_of(found: Series) -> Mapping[str, Callable[[], "Figure"]]:
    """Phases, measures by role, and outliers as trajectories where there are any."""
    drawn: dict[str, Callable[[], Figure]] = {"series_measures": partial(figures.draw_measures, found)}
    if courses.phases(found):
        drawn["series_phases"] = partial(figures.draw_phases, found)
    if courses.trajectories(found):
        drawn["series_outliers"] = partial(figures.draw_trajectories, found)
    return drawn


REPORTED = register(Reported(LAYOUT, open_series, view_of, figures_of))
