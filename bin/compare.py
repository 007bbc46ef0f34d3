"""Compare runs or checkpoints: what differs, how far each matrix moved, and in how many directions beyond noise.

    eigensweep-compare --run=runs/a --run=runs/b --workdir=runs/a-b [--config=NAME] [--config.KEY=VALUE ...]
    eigensweep-compare --checkpoint=BASE --checkpoint=TUNED --workdir=DIR
    eigensweep-compare --run=runs/a --config=compare_attention_mlp --workdir=DIR

Matrices are matched by name within one architecture, else by role, block, tower and expert; stacks of different
depth by relative depth. Every run is held against the first. Of checkpoints without a run the sweep is done first,
into DIR/runs. Where the checkpoints are at hand, W' - W is held against noise as a sweep holds W.

Writes DIR/comparison.parquet (a row a pair and measure), pairs.parquet, moved.parquet, spread.parquet, compare.json
and report.html. Started again with the same workdir it continues where it stopped.
"""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.run.options import words
from eigensweep.engine.studies.compare.options import CompareOptions

if TYPE_CHECKING:
    from eigensweep.engine.run.progress import OnProgress
    from eigensweep.engine.studies.sweep.study import Run

_RUN = flags.DEFINE_multi_string("run", [], "run directory of a sweep; give one for every run, in their order")
_CHECKPOINT = flags.DEFINE_multi_string("checkpoint", [], "folder, file or hub id, several as with --run; after runs")


def main() -> None:
    """Settings -> runs -> comparison -> summary and report."""
    named, options, workdir = runner.settings(CompareOptions, needed=False)
    sources = _CHECKPOINT.value or ([] if _RUN.value else words(named))  # a preset's, where nothing else is said
    count = len(_RUN.value) + len(sources)
    if count < (1 if options.other_roles else 2):
        raise UserError(f"{count} runs are no comparison: give --run=DIR or --checkpoint=PATH_OR_HUB_ID twice or more")
    if not workdir:
        raise UserError("no --workdir given: where should the tables and the report go?")
    from eigensweep import engine
    from eigensweep.engine.studies.compare.stack import tails
    from eigensweep.engine.studies.compare.summary import render
    from eigensweep.progress import reporter

    start = time.monotonic()
    with reporter() as on_progress:
        given = [_of_run(directory, options.moved and not options.other_roles) for directory in _RUN.value]
        given += [_of_checkpoint(i, source, options, workdir, on_progress) for i, source in enumerate(sources)]
        runs, checkpoints, missing = [run for run, _, _ in given], [c for _, c, _ in given], [m for _, _, m in given]
        names = tails([*_RUN.value, *sources])
        found = engine.compare(runs, options, workdir, checkpoints=checkpoints, labels=names, on_progress=on_progress)
    notes = [f"note: {text}" for text in (*found.manifest["warnings"], *filter(None, missing))]
    runner.finish(found, render, "\n".join([*notes, f"{time.monotonic() - start:.1f} s"]))


def _of_run(directory: str, wanted: bool) -> tuple["Run", Any, str]:
    """A finished sweep, its checkpoint where that is still what was swept, and else what is missing."""
    from eigensweep import engine
    from eigensweep.engine.studies.sweep.notebook import checkpoint_of
    from eigensweep.models.errors import InputError

    run = engine.open_run(directory)
    if not wanted:
        return run, None, ""
    try:
        return run, checkpoint_of(run), ""
    except (engine.RunError, InputError, KeyError) as error:
        return run, None, f"{directory}: nothing is said of how far its matrices moved: {error}"


def _of_checkpoint(
    place: int, source: str, options: CompareOptions, workdir: str, on_progress: "OnProgress"
) -> tuple["Run", Any, str]:
    """A checkpoint's sweep in the workdir, done where it is missing; of the roles that are to be compared."""
    from eigensweep import engine
    from eigensweep.engine.report.style import slug
    from eigensweep.engine.studies.compare.options import roles_of

    checkpoint = runner.opened(source)
    asked = roles_of(options.roles) + roles_of(options.other_roles)
    there = {matrix.role for matrix in checkpoint.matrices}
    roles = tuple(role for role in asked if role in there) or asked
    directory = Path(workdir, "runs", f"{place + 1}-{slug('-'.join(Path(source.rstrip('/')).parts[-2:]))}")
    swept = dataclasses.replace(options.sweep_options(), roles=roles)
    return engine.sweep(checkpoint, swept, directory, on_progress=on_progress), checkpoint, ""


run = runner.console(main, CompareOptions)

if __name__ == "__main__":
    run()
