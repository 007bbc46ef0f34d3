"""The spectral engine: arrays in, tables and figures out.

Importing it changes two settings of the whole process. It turns JAX's float64 on (`jax_enable_x64`), which spectra
need: from then on `jnp.asarray(1.0)` is a float64 in your code, too. And where no compilation cache is configured it
turns JAX's on, for programs of any size (engine/run/compilation.py); a cache of your own stays as it is.
"""

import importlib
from typing import TYPE_CHECKING, Any

import jax

jax.config.update("jax_enable_x64", True)

from eigensweep.engine.run.compilation import use_compilation_cache  # noqa: E402

use_compilation_cache()

from eigensweep.engine.run.progress import Progress  # noqa: E402
from eigensweep.engine.studies import write_report  # noqa: E402
from eigensweep.engine.studies.compare.options import CompareOptions  # noqa: E402
from eigensweep.engine.studies.compare.stack import stack  # noqa: E402
from eigensweep.engine.studies.compare.study import compare, open_comparison  # noqa: E402
from eigensweep.engine.studies.compare.write import write_comparison  # noqa: E402
from eigensweep.engine.studies.fleet.runs import open_runs  # noqa: E402
from eigensweep.engine.studies.sweep.family import family_table, render_family  # noqa: E402
from eigensweep.engine.studies.sweep.options import SweepOptions  # noqa: E402
from eigensweep.engine.studies.sweep.plan import describe_plan, estimate, make_plan  # noqa: E402
from eigensweep.engine.studies.sweep.study import is_finished, open_run, sweep  # noqa: E402
from eigensweep.engine.studies.sweep.summary import render_summary, summary_table  # noqa: E402
from eigensweep.engine.tables.errors import RunError  # noqa: E402
from eigensweep.engine.tables.hosts import is_first as is_first_process  # noqa: E402

if TYPE_CHECKING:
    from eigensweep.engine.studies.ablation.study import AblationOptions, ablate, open_ablation, run_ablation
    from eigensweep.engine.studies.editing import EditOptions, EditRequest, run_edit
    from eigensweep.engine.studies.finetune.effects import open_finetune
    from eigensweep.engine.studies.finetune.study import FinetuneOptions, run_finetune
    from eigensweep.engine.studies.labels.options import LabelOptions
    from eigensweep.engine.studies.labels.study import import_marks, label
    from eigensweep.engine.studies.labels.tables import open_labels
    from eigensweep.engine.studies.overlap.study import OverlapOptions, open_overlap, run_overlap
    from eigensweep.engine.studies.pretraining import PretrainOptions, pretrain
    from eigensweep.engine.studies.series.study import open_series, run_series
    from eigensweep.engine.studies.tokens.study import TokensOptions, open_tokens, run_tokens
    from eigensweep.engine.studies.tracing import TraceOptions, run_trace

# loaded when they are asked for: they bring the forward passes and Flax with them, which a sweep does not need
_WITH_MODELS = {
    "ablation.study": ("AblationOptions", "ablate", "open_ablation", "run_ablation"),
    "editing": ("EditOptions", "EditRequest", "run_edit"),
    "finetune.effects": ("open_finetune",),
    "finetune.study": ("FinetuneOptions", "run_finetune"),
    "labels.options": ("LabelOptions",),
    "labels.study": ("import_marks", "label"),
    "labels.tables": ("open_labels",),
    "pretraining": ("PretrainOptions", "pretrain"),
    "series.study": ("open_series", "run_series"),
    "overlap.study": ("OverlapOptions", "open_overlap", "run_overlap"),
    "tokens.study": ("TokensOptions", "open_tokens", "run_tokens"),
    "tracing": ("TraceOptions", "run_trace"),
}


def __getattr__(name: str) -> Any:
    for module, names in _WITH_MODELS.items():
        if name in names:
            return getattr(importlib.import_module(f"eigensweep.engine.studies.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AblationOptions",
    "CompareOptions",
    "EditOptions",
    "EditRequest",
    "FinetuneOptions",
    "LabelOptions",
    "OverlapOptions",
    "PretrainOptions",
    "Progress",
    "RunError",
    "SweepOptions",
    "TokensOptions",
    "TraceOptions",
    "ablate",
    "compare",
    "describe_plan",
    "estimate",
    "family_table",
    "import_marks",
    "is_finished",
    "is_first_process",
    "label",
    "make_plan",
    "open_ablation",
    "open_comparison",
    "open_finetune",
    "open_labels",
    "open_overlap",
    "open_run",
    "open_runs",
    "open_series",
    "open_tokens",
    "pretrain",
    "render_family",
    "render_summary",
    "run_ablation",
    "run_edit",
    "run_finetune",
    "run_overlap",
    "run_series",
    "run_tokens",
    "run_trace",
    "stack",
    "summary_table",
    "sweep",
    "write_comparison",
    "write_report",
]
