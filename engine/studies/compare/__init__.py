"""Comparison: several runs on one table layout, and what differs between them."""

from eigensweep.engine.report.registry import Reported, register
from eigensweep.engine.studies.compare.columns import LAYOUT
from eigensweep.engine.studies.compare.figures import figures_of
from eigensweep.engine.studies.compare.study import open_comparison
from eigensweep.engine.studies.compare.view import view_of

REPORTED = register(Reported(LAYOUT, open_comparison, view_of, figures_of))
