"""Arrays in, arrays out: the spectral engine. Importing it turns JAX's float64 on."""

import jax

jax.config.update("jax_enable_x64", True)

from eigensweep.engine.report.summary import render_summary, summary_table  # noqa: E402
from eigensweep.engine.run.errors import RunError  # noqa: E402
from eigensweep.engine.run.options import SweepOptions  # noqa: E402
from eigensweep.engine.run.plan import Plan, describe_plan, make_plan  # noqa: E402
from eigensweep.engine.run.store import Run, open_run  # noqa: E402
from eigensweep.engine.run.sweep import Progress, sweep  # noqa: E402

__all__ = [
    "Plan",
    "Progress",
    "Run",
    "RunError",
    "SweepOptions",
    "describe_plan",
    "make_plan",
    "open_run",
    "render_summary",
    "summary_table",
    "sweep",
]
