"""The facts study: what the numbers of a model look like."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.facts.study import LAYOUT, Facts, open_facts
from eigensweep.engine.studies.facts.summary import HEADINGS, cells, facts_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_of(found: Facts) -> View:
    """What the page shows of the study."""
    rows = [cells(row) for row in facts_table(found).to_dict("records")]
    return View(f"Facts of {checkpoint_name(found)}", tables=[Table("Distributions", [*HEADINGS.values()], rows)])


def figures_of(found: Facts) -> Mapping[str, Callable[[], "Figure"]]:
    """None yet."""
    return {}


REPORTED = register(Reported(LAYOUT, open_facts, view_of, figures_of))
