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
from eigensweep.engine.studies.sweep.family import family_table, render_family  # noqa: E402
from eigensweep.engine.studies.sweep.options import SweepOptions  # noqa: E402
from eigensweep.engine.studies.sweep.plan import describe_plan, estimate, make_plan  # noqa: E402
from eigensweep.engine.studies.sweep.study import is_finished, open_run, sweep  # noqa: E402
from eigensweep.engine.studies.sweep.summary import render_summary, summary_table  # noqa: E402
from eigensweep.engine.tables.errors import RunError  # noqa: E402
from eigensweep.engine.tables.hosts import is_first as is_first_process  # noqa: E402

if TYPE_CHECKING:
    from eigensweep.engine.studies.ablation.study import AblationOptions, ablate, open_ablation, run_ablation
    from eigensweep.engine.studies.causal.study import run_causal
    from eigensweep.engine.studies.causal.tables import open_causal
    from eigensweep.engine.studies.compare.options import CompareOptions
    from eigensweep.engine.studies.compare.stack import stack
    from eigensweep.engine.studies.compare.study import compare, open_comparison
    from eigensweep.engine.studies.compare.write import write_comparison
    from eigensweep.engine.studies.editing import EditOptions, EditRequest, run_edit
    from eigensweep.engine.studies.facts.options import FactsOptions
    from eigensweep.engine.studies.facts.study import open_facts, run_facts
    from eigensweep.engine.studies.finetune.effects import open_finetune
    from eigensweep.engine.studies.finetune.options import FinetuneOptions
    from eigensweep.engine.studies.finetune.study import run_finetune
    from eigensweep.engine.studies.fleet.runs import open_runs
    from eigensweep.engine.studies.labels.options import LabelOptions
    from eigensweep.engine.studies.labels.study import import_marks, label
    from eigensweep.engine.studies.labels.tables import open_labels
    from eigensweep.engine.studies.overlap.study import OverlapOptions, open_overlap, run_overlap
    from eigensweep.engine.studies.pretraining import PretrainOptions, pretrain
    from eigensweep.engine.studies.series.study import open_series, run_series
    from eigensweep.engine.studies.tokens.study import TokensOptions, open_tokens, run_tokens
    from eigensweep.engine.studies.toy_mlp.options import ToyMlpOptions
    from eigensweep.engine.studies.toy_mlp.study import open_toy_mlp, run_toy_mlp
    from eigensweep.engine.studies.tracing import TraceOptions, run_trace

# loaded when they are asked for: most bring the forward passes and Flax with them, and a sweep needs none
_LATER = {
    "ablation.study": ("AblationOptions", "ablate", "open_ablation", "run_ablation"),
    "causal.study": ("run_causal",),
    "causal.tables": ("open_causal",),
    "compare.options": ("CompareOptions",),
    "compare.stack": ("stack",),
    "compare.study": ("compare", "open_comparison"),
    "compare.write": ("write_comparison",),
    "editing": ("EditOptions", "EditRequest", "run_edit"),
    "facts.options": ("FactsOptions",),
    "facts.study": ("open_facts", "run_facts"),
    "finetune.effects": ("open_finetune",),
    "finetune.options": ("FinetuneOptions",),
    "finetune.study": ("run_finetune",),
    "fleet.runs": ("open_runs",),
    "labels.options": ("LabelOptions",),
    "labels.study": ("import_marks", "label"),
    "labels.tables": ("open_labels",),
    "pretraining": ("PretrainOptions", "pretrain"),
    "series.study": ("open_series", "run_series"),
    "overlap.study": ("OverlapOptions", "open_overlap", "run_overlap"),
    "tokens.study": ("TokensOptions", "open_tokens", "run_tokens"),
    "toy_mlp.options": ("ToyMlpOptions",),
    "toy_mlp.study": ("open_toy_mlp", "run_toy_mlp"),
    "tracing": ("TraceOptions", "run_trace"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f"eigensweep.engine.studies.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AblationOptions",
    "CompareOptions",
    "EditOptions",
    "EditRequest",
    "FactsOptions",
    "FinetuneOptions",
    "LabelOptions",
    "OverlapOptions",
    "PretrainOptions",
    "Progress",
    "RunError",
    "SweepOptions",
    "TokensOptions",
    "ToyMlpOptions",
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
    "open_causal",
    "open_comparison",
    "open_facts",
    "open_finetune",
    "open_labels",
    "open_overlap",
    "open_run",
    "open_runs",
    "open_series",
    "open_tokens",
    "open_toy_mlp",
    "pretrain",
    "render_family",
    "render_summary",
    "run_ablation",
    "run_causal",
    "run_edit",
    "run_facts",
    "run_finetune",
    "run_overlap",
    "run_series",
    "run_tokens",
    "run_toy_mlp",
    "run_trace",
    "stack",
    "summary_table",
    "sweep",
    "write_comparison",
    "write_report",
]
