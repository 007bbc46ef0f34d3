"""Figures and the HTML report, from a run alone: no checkpoint is needed."""

from eigensweep.engine.report.compare import write_comparison
from eigensweep.engine.report.summary import render_summary, summary_table
from eigensweep.engine.report.write import write_report

__all__ = ["render_summary", "summary_table", "write_comparison", "write_report"]
