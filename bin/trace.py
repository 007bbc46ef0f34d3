"""Find the singular directions of a model that a query points to.

    eigensweep-trace --checkpoint=PATH_OR_HUB_ID --query="fire, flame, burning" [--query=...] [--workdir=DIR]
    eigensweep-trace --checkpoint=PATH_OR_HUB_ID --config.closed_loop=1000

The query's tokens become a vector, the mean of their columns of the unembedding's pseudo-inverse; directions of every
circuit, at both signs and on all sides, whose cosine with it is beyond 4.8/sqrt(d) are listed. The closed loop takes
the top tokens of directions as queries, and says how near each direction is found, and at which rank. With a workdir
the hits go to DIR/trace.parquet, the closed loop's directions to trace_loop.parquet, what was asked to trace.json.
"""

import textwrap
import time

from absl import flags

from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.studies.tracing import TraceOptions, run_trace
from eigensweep.engine.studies.tracing.summary import render

_QUERY = flags.DEFINE_multi_string("query", [], "words between commas; several queries are traced together")


def main() -> None:
    """Settings -> trace -> table."""
    source, options, workdir = runner.settings(TraceOptions)
    if not _QUERY.value and not options.closed_loop:
        raise UserError("no --query given: which words should be traced? (or --config.closed_loop=N)")
    from eigensweep.progress import reporter

    checkpoint, start = runner.opened(source), time.monotonic()
    with reporter() as on_progress:
        trace = run_trace(checkpoint, _QUERY.value, options, workdir, on_progress)
    said = [textwrap.fill(f"note: {note}", 100) for note in trace.manifest["notes"]]
    print("\n".join([render(trace), "", *said, f"{time.monotonic() - start:.1f} s"]))
    if workdir:
        print(f"tables: {workdir}/trace.parquet" + (", trace_loop.parquet" if trace.loop is not None else ""))


run = runner.console(main, TraceOptions, report=False)

if __name__ == "__main__":
    run()
