"""Sweep a checkpoint: decompose every weight matrix and hold each against random matrix theory.

    eigensweep-sweep --config=minilm --workdir=runs/minilm
    eigensweep-sweep --checkpoint=PATH_OR_HUB_ID --workdir=DIR [--config=NAME_OR_FILE] [--config.KEY=VALUE ...]
    eigensweep-sweep --checkpoint=ADAPTER --base=MODEL --workdir=DIR

Writes DIR/matrices.parquet, spectra.parquet, manifest.json, figures/ and report.html. Started again with the same
workdir it continues where it stopped.
"""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.studies.sweep.options import SweepOptions

if TYPE_CHECKING:
    from eigensweep.engine.run.profile import Profile
    from eigensweep.engine.studies.sweep.study import Run

_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the plan (a row a role, memory, time, what is left out) and stop")
_BASE = flags.DEFINE_string(
    "base", None, "of an adapter: the model that it was trained on; then W, W + delta and delta are swept side by side"
)
_MEMORY_GIB = flags.DEFINE_float("memory_gib", None, "memory for one batch's arrays; default: from what is free")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "one of several processes with one --workdir; found out from SLURM, Kubernetes, MPI, TPU pods"
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, where nothing tells it")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "how many processes, where nothing tells it", 1)
_PROFILE = flags.DEFINE_string(
    "profile", None, "folder for a trace of the devices (jax.profiler); its summary is printed"
)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "which of them this is, where nothing tells it", 0)


def main() -> None:
    """Flags -> options -> sweep -> summary and report."""
    memory = _memory_bytes()
    _join_processes()
    from eigensweep import engine
    from eigensweep.progress import reporter

    source, options, workdir = runner.settings(SweepOptions)
    if not workdir and not _DRY_RUN.value:
        raise UserError("no --workdir given: where should the tables and the report go?")
    checkpoint = runner.opened(source, _BASE.value)
    if _DRY_RUN.value:
        plan = engine.make_plan(checkpoint, options)
        print(engine.describe_plan(plan, memory, engine.estimate(plan, options, memory)))
        return
    before, start = engine.is_finished(workdir), time.monotonic()
    with reporter() as on_progress, _traced() as profile:
        run = engine.sweep(checkpoint, options, workdir, memory_bytes=memory, on_progress=on_progress)
    swept = time.monotonic() - start
    if not engine.is_first_process():
        return
    if before:
        print(f"{workdir}: this sweep was finished before; nothing was computed again\n")
    said = f"{len(run.matrices)} matrices, {len(run.manifest['skipped'])} tensors left out; {swept:.1f} s"
    traced = [f"trace: {_PROFILE.value}; {found}" for found in profile]
    runner.finish(run, _rendered, "\n".join([*runner.notes(run, checkpoint), said, *traced]))


def _rendered(run: "Run") -> str:
    """The summary by role, and the run's tests as one family."""
    from eigensweep import engine

    summary = engine.render_summary(engine.summary_table(run))
    return f"{summary}\n\n{engine.render_family(engine.family_table(run))}".rstrip()


def _traced() -> AbstractContextManager[list["Profile"]]:
    if not _PROFILE.value:
        return nullcontext([])
    from eigensweep.engine.run.profile import profiled

    try:
        Path(_PROFILE.value).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--profile={_PROFILE.value}: {error.strerror}") from error
    return profiled(_PROFILE.value)


def _memory_bytes() -> int | None:
    gib = _MEMORY_GIB.value
    if gib is None:
        return None
    if not (math.isfinite(gib) and gib > 0):
        raise UserError(f"--memory_gib={gib}: expected a positive number")
    return int(gib * 2**30)


def _join_processes() -> None:
    if not (_DISTRIBUTED.value or _COORDINATOR.value):
        for flag in (_NUM_PROCESSES, _PROCESS_ID):
            if flag.value is not None:
                raise UserError(
                    f"--{flag.name} is for several processes: give --coordinator=HOST:PORT or --distributed"
                )
        return
    import jax

    jax.distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)


run = runner.console(main, SweepOptions)

if __name__ == "__main__":
    run()
