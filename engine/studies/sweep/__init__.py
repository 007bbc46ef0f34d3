"""The sweep: every weight matrix against random matrix theory."""

from eigensweep.engine.report.registry import Reported, register
from eigensweep.engine.studies.sweep.figures import figures_of
from eigensweep.engine.studies.sweep.study import Run, open_run
from eigensweep.engine.studies.sweep.view import view_of

REPORTED = register(Reported(Run.layout, open_run, view_of, figures_of))
