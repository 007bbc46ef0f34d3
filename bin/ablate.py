"""Take singular values out of a model's matrices and measure what that does to its loss.

    eigensweep-ablate --checkpoint=PATH_OR_HUB_ID --config.data=TEXT --workdir=DIR [--config.KEY=VALUE ...]
    eigensweep-ablate --config=ablate_gpt2_shakespeare --workdir=runs/ablation
    ... --write_checkpoint=EDITED --removal=query/decile:10

Writes DIR/ablation.parquet (a row a scope and removal: the loss, its change and the change's bootstrap interval),
ablation_rows.parquet, matrices.parquet, spectra.parquet, manifest.json and figures/. Started again with the same
workdir it continues after the last finished removal. What can be taken out: `--config.removals`, see --config=ablate.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from eigensweep.bin import config_flag
from eigensweep.bin.ablation_config import check_removal, options_from, removal_to_write
from eigensweep.bin.cli import UserError, run_main

if TYPE_CHECKING:
    from eigensweep.engine.run.ablation import AblationOptions, AblationProgress

_CONFIG = config_flag.define("ablate")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "folder or hub id; overrides the config's")
_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the study; an unfinished one is continued")
_WRITE = flags.DEFINE_string(
    "write_checkpoint",
    None,
    "write the checkpoint without the values of --removal here, for transformers to load",
)
_REMOVAL = flags.DEFINE_string(
    "removal",
    None,
    "SCOPE/REMOVAL for --write_checkpoint, such as query/decile:10; not needed if there is only one",
)


def main(argv: list[str]) -> None:
    """Flags -> model and data -> study -> table, figure, edited checkpoint."""
    del argv
    from eigensweep import models
    from eigensweep.bin.measured import open_measure
    from eigensweep.engine.report.ablation import write_figures
    from eigensweep.engine.report.ablation_table import render
    from eigensweep.engine.run.ablation import ablate
    from eigensweep.engine.run.errors import RunError
    from eigensweep.models.data import DataError
    from eigensweep.models.nn import DeviceMemoryError

    config = _CONFIG.value
    source = config_flag.checkpoint_of(_CHECKPOINT.value, config)
    workdir = _WORKDIR.value
    if not workdir:
        raise UserError("no --workdir given: where should the tables and the figures go?")
    options = options_from(config)
    to_write = removal_to_write(_WRITE.value, _REMOVAL.value, options)
    try:
        checkpoint = models.open_checkpoint(source)
        for warning in checkpoint.warnings:
            print(f"warning: {warning}")
        if to_write:
            check_removal(checkpoint, *to_write)
        measure = open_measure(checkpoint, config)
        study = ablate(checkpoint, measure.evaluate, measure.description, options, workdir, _report)
        print(render(study))
        print(
            f"\ntables: {workdir}/ablation.parquet, ablation_rows.parquet, matrices.parquet, spectra.parquet"
        )
        for path in write_figures(study, Path(workdir)):
            print(f"figure: {path}")
        if to_write:
            print(f"checkpoint: {_write_checkpoint(checkpoint, *to_write, options)}")
    except (RunError, DataError, DeviceMemoryError) as error:
        raise UserError(str(error)) from error


def _write_checkpoint(checkpoint: Any, scope: str, taken: Any, options: "AblationOptions") -> Path:
    from eigensweep import models
    from eigensweep.engine.run.ablation import edit

    assert _WRITE.value is not None
    try:
        return models.write_huggingface(checkpoint, _WRITE.value, edit(checkpoint, scope, taken, options))
    except OSError as error:
        raise UserError(f"--write_checkpoint={_WRITE.value}: {error.strerror or error}") from error


def _report(progress: "AblationProgress") -> None:
    if progress.removal:
        print(
            f"{progress.done} of {progress.total}: {progress.scope} {progress.removal}",
            file=sys.stderr,
            flush=True,
        )


def run() -> None:
    """Console script."""
    config_flag.expand_argv()
    run_main(main)


if __name__ == "__main__":
    run()
