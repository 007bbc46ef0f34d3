"""The sweep: every weight matrix against random matrix theory."""

from eigensweep.engine.report.registry import Reported, register
from eigensweep.engine.studies.sweep import panels
from eigensweep.engine.studies.sweep.study import Run, open_run

REPORTED = register(Reported(Run.layout, open_run, panels.panels))
