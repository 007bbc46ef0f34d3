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
OPTIONS = ("num_draws", "seed", "level", "sigma", "strategy", "num_resamples", "confidence")


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
    source = _CHECKPOINT.value or config.checkpoint
    if not source:
        raise UserError("no checkpoint: give --checkpoint=PATH_OR_HUB_ID, or a --config that names one")
    workdir = _WORKDIR.value
    if not workdir:
        raise UserError("no --workdir given: where should the tables and the figures go?")
    options = options_from(config)
    to_write = _removal_to_write(options)
    try:
        checkpoint = models.open_checkpoint(source)
        for warning in checkpoint.warnings:
            print(f"warning: {warning}")
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


def options_from(config: Any) -> "AblationOptions":
    """The engine's options from a config.

    Raises:
      UserError: on a value that is none of the allowed ones.
    """
    from eigensweep.engine.run.ablation import AblationOptions

    lists = {name: _words(config[name]) for name in ("scopes", "removals")}
    try:
        return AblationOptions(**lists, **{name: config[name] for name in OPTIONS})
    except (TypeError, ValueError) as error:
        raise UserError(f"config: {error}") from error


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _removal_to_write(options: "AblationOptions") -> tuple[str, Any] | None:
    """(scope, removal) for --write_checkpoint, checked before hours of work; None where none is to be written."""
    from eigensweep.engine.spectral import removal

    if not _WRITE.value:
        if _REMOVAL.value:
            raise UserError("--removal says what --write_checkpoint writes, and that is not given")
        return None
    out = Path(_WRITE.value)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--write_checkpoint={out}: is there already, and not an empty folder")
    if _REMOVAL.value:
        scope, _, text = _REMOVAL.value.rpartition("/")
    elif len(options.scopes) == len(removal.expand(options.removals, options.num_draws)) == 1:
        scope, text = options.scopes[0], options.removals[0]
    else:
        raise UserError("the study has several removals: say which to write, as --removal=query/decile:10")
    if not scope:
        raise UserError(f"--removal={_REMOVAL.value}: expected SCOPE/REMOVAL, such as query/decile:10")
    try:
        return scope, removal.parse(text)
    except ValueError as error:
        raise UserError(f"--removal: {error}") from error


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
