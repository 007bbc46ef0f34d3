"""The comparison of runs as a page: what `engine.write_comparison` and `eigensweep-report --run --run` do."""

from collections.abc import Sequence
from pathlib import Path

from eigensweep.engine.studies import write_report
from eigensweep.engine.studies.compare.options import CompareOptions
from eigensweep.engine.studies.compare.study import compare
from eigensweep.engine.studies.sweep.study import Run


def write_comparison(runs: Sequence[Run], directory: str | Path, figures: bool = False) -> Path:
    """Compare runs from their tables alone, and write the page.

    Args:
      runs: at least two runs, in the order in which to show them; each is held against the first.
      directory: run directory of the comparison; created where it is missing.
      figures: whether to draw the figures for papers, too.

    Returns:
      The path of report.html.

    Raises:
      ValueError: if there are fewer than two runs.
      RunError: if nothing matches, or `directory` holds something else or cannot be written.
    """
    return write_report(compare(runs, CompareOptions(moved=False), directory), figures=figures)
