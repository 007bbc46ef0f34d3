"""The linear model of learning: why small singular values matter."""

from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.studies.toy import Toy
from eigensweep.engine.studies.toy_linear.options import ToyLinearOptions
from eigensweep.engine.studies.toy_linear.study import LAYOUT, ToyLinear, open_toy_linear, run_toy_linear
from eigensweep.engine.studies.toy_linear.summary import HEADINGS, cells, linear_table, render_linear


def view_of(found: ToyLinear) -> View:
    """What the page shows of the study."""
    rows = [cells(row) for row in linear_table(found).to_dict("records")]
    return View("Linear model of learning", tables=[Table("By number of samples", [*HEADINGS.values()], rows)])


REPORTED = register(Reported(LAYOUT, open_toy_linear, view_of, lambda found: {}))
TOY = Toy(ToyLinearOptions, run_toy_linear, render_linear)
