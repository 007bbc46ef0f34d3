"""Sweep a checkpoint: decompose every weight matrix and hold each against random matrix theory.

    eigensweep-sweep --config=minilm --workdir=runs/minilm
    eigensweep-sweep --checkpoint=PATH_OR_HUB_ID --workdir=DIR [--config=NAME_OR_FILE] [--config.KEY=VALUE ...]

Writes DIR/matrices.parquet, spectra.parquet, manifest.json, figures/ and report.html. Started again with the same
workdir it continues where it stopped.
"""

import time
from typing import TYPE_CHECKING, Any

from absl import flags

from eigensweep.bin import config_flag
from eigensweep.bin.cli import UserError, run_main

if TYPE_CHECKING:
    from eigensweep.engine.run.options import SweepOptions

_CONFIG = config_flag.define("sweep")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "folder, .safetensors file, or hub id; overrides the config's"
)
_WORKDIR = flags.DEFINE_string("workdir", None, "run directory; continued if it holds an unfinished run")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "print the plan (matrices, roles, memory, what is left out) and stop"
)
_MEMORY_GIB = flags.DEFINE_float(
    "memory_gib", None, "memory for one batch's arrays; default: from what is free", 0.0
)
_REPORT = flags.DEFINE_bool("report", True, "draw the figures and write report.html")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "one of several processes with one --workdir; found out from SLURM, Kubernetes, MPI, TPU pods",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, where nothing tells it")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "how many processes, where nothing tells it")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "which of them this is, where nothing tells it")


def main(argv: list[str]) -> None:
    """Flags -> options -> sweep -> report -> summary."""
    del argv
    if _DISTRIBUTED.value or _COORDINATOR.value:
        import jax

        jax.distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    from eigensweep import engine, models
    from eigensweep.bin.progress import progress_reporter

    config = _CONFIG.value
    source = config_flag.checkpoint_of(_CHECKPOINT.value, config)
    workdir = _WORKDIR.value or ""
    if not workdir and not _DRY_RUN.value:
        raise UserError("no --workdir given: where should the tables and the report go?")
    memory = int(_MEMORY_GIB.value * 2**30) if _MEMORY_GIB.value else None
    try:
        options = options_from(config)
        checkpoint = models.open_checkpoint(source)
        for warning in checkpoint.warnings:
            print(f"warning: {warning}")
        if _DRY_RUN.value:
            print(engine.describe_plan(engine.make_plan(checkpoint, options), memory))
            return
        before = engine.is_finished(workdir)
        start = time.monotonic()
        with progress_reporter() as on_progress:
            run = engine.sweep(checkpoint, options, workdir, memory_bytes=memory, on_progress=on_progress)
        swept = time.monotonic() - start
        if not engine.is_first_process():
            return
        report = engine.write_report(run, workdir) if _REPORT.value else None
    except engine.RunError as error:
        raise UserError(str(error)) from error
    if before:
        print(f"{workdir}: this sweep was finished before; nothing was computed again\n")
    print(engine.render_summary(engine.summary_table(run)))
    print(f"\n{len(run.matrices)} matrices, {len(run.manifest['skipped'])} tensors left out; {swept:.1f} s")
    print(f"tables: {workdir}/matrices.parquet, spectra.parquet")
    if report:
        print(f"report: {report}")


def options_from(config: Any) -> "SweepOptions":
    """The engine's options from a config.

    Raises:
      UserError: on a value that is none of the allowed ones.
    """
    from eigensweep.engine import SweepOptions

    values = {key: value for key, value in config.items() if key != "checkpoint"}
    values["roles"] = config_flag.parse_words(values["roles"])
    values["blocks"] = config_flag.parse_numbers("blocks", values["blocks"])
    try:
        return SweepOptions(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"config: {error}") from error


def run() -> None:
    """Console script."""
    config_flag.expand_argv()
    run_main(main)


if __name__ == "__main__":
    run()
