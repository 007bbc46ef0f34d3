"""What a sweep found, in sentences that its calibrated tests stand behind."""

from collections.abc import Sequence

from eigensweep.engine.report.registry import Finding
from eigensweep.engine.studies.sweep.study import Run


def findings(run: Run) -> Sequence[Finding]:
    """Four to six sentences, each with its evidence and the state of the page that shows it."""
    return []
