"""Sweep the checkpoints of one training, and tell what changes from step to step.

    eigensweep-series --checkpoints='EleutherAI/pythia-160m@step{0,1,2,4,8,16,32,64}' --workdir=runs/pythia
    eigensweep-series --checkpoints='models/tiny/step-*' --workdir=runs/tiny [--figures] [--config.KEY=VALUE ...]
    eigensweep-series --checkpoints='adapters/checkpoint-*' --base=roberta-base --workdir=runs/lora

The step is the number behind "step", "checkpoint", "ckpt" or "iter" in the revision or the folder's name, or the one
number in which the names differ; --steps says them where no name does. Every checkpoint is a run of its own in
DIR/step-<number>, and a series that is started again sweeps what is missing. Writes DIR/series.parquet (a row a matrix
and step: all columns of matrices.parquet behind run, checkpoint, revision, step), series_values.parquet (outliers as
trajectories), series.json and report.html.
"""

import time

from absl import flags

from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.run.options import numbers
from eigensweep.engine.studies.fleet.options import SeriesOptions

_BASE = flags.DEFINE_string("base", None, "of adapters: the model that all of them were trained on")
_STEPS = flags.DEFINE_string("steps", "", "the steps, one a checkpoint in their order, where no name tells them")


def main() -> None:
    """Settings -> sweeps -> table of steps and report."""
    source, options, workdir = runner.settings(SeriesOptions, "checkpoints")
    if not workdir:
        raise UserError("no --workdir given: where should the run directories go?")
    try:
        steps = numbers("--steps", _STEPS.value)
    except ValueError as error:
        raise UserError(str(error)) from error
    from eigensweep import models
    from eigensweep.engine.studies.fleet.sources import sources_of
    from eigensweep.engine.studies.series.study import failed_in, run_series
    from eigensweep.engine.studies.series.summary import render
    from eigensweep.progress import reporter

    sources, start = sources_of(source), time.monotonic()
    base = models.open_checkpoint(_BASE.value) if _BASE.value else None
    with reporter() as on_progress:
        found = run_series(sources, options, workdir, steps=steps, base=base, on_progress=on_progress)
    runner.finish(found, render, f"{len(found.manifest['steps'])} steps; {time.monotonic() - start:.1f} s")
    if failed := failed_in(found):
        raise UserError(f"{len(failed)} of {len(sources)} checkpoints are missing: {failed[0]}")


run = runner.console(main, SeriesOptions, "checkpoints")

if __name__ == "__main__":
    run()
