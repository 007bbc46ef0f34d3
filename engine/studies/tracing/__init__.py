"""Query tracing: which directions of a model point where the tokens of a query do."""

from eigensweep.engine.studies.tracing.options import TraceOptions
from eigensweep.engine.studies.tracing.study import Trace, run_trace

__all__ = ["Trace", "TraceOptions", "run_trace"]
