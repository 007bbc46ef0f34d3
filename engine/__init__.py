"""Arrays in, arrays out: the spectral engine.

Importing it turns JAX's float64 on, and its persistent compilation cache (engine/run/compilation.py).
"""

import jax

jax.config.update("jax_enable_x64", True)

from eigensweep.engine.run.compilation import use_compilation_cache  # noqa: E402

use_compilation_cache()

from eigensweep.engine.report import render_summary, summary_table, write_comparison, write_report  # noqa: E402
from eigensweep.engine.run.ablation_store import Ablation, open_ablation  # noqa: E402
from eigensweep.engine.run.errors import RunError  # noqa: E402
from eigensweep.engine.run.finetune import Finetuning, open_finetune  # noqa: E402
from eigensweep.engine.run.hosts import is_first as is_first_process  # noqa: E402
from eigensweep.engine.run.options import SweepOptions  # noqa: E402
from eigensweep.engine.run.overlap import OverlapRun, open_overlap  # noqa: E402
from eigensweep.engine.run.plan import Plan, describe_plan, make_plan  # noqa: E402
from eigensweep.engine.run.store import Run, is_finished, open_run  # noqa: E402
from eigensweep.engine.run.sweep import Progress, sweep  # noqa: E402

__all__ = [
    "Ablation",
    "Finetuning",
    "OverlapRun",
    "Plan",
    "Progress",
    "Run",
    "RunError",
    "SweepOptions",
    "describe_plan",
    "is_finished",
    "is_first_process",
    "make_plan",
    "open_ablation",
    "open_finetune",
    "open_overlap",
    "open_run",
    "render_summary",
    "summary_table",
    "sweep",
    "write_comparison",
    "write_report",
]
