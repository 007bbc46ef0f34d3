"""Take singular values out of a model's matrices and measure what that does to its loss.

    eigensweep-ablate --checkpoint=PATH_OR_HUB_ID --data=TEXT --workdir=DIR [--config.KEY=VALUE ...]
    eigensweep-ablate --config=ablate_gpt2_shakespeare --workdir=runs/ablation
    ... --write_checkpoint=EDITED --removal=query/decile:10

Writes DIR/ablation.parquet (a row a scope and removal: the loss, its change and the change's bootstrap interval),
ablation_rows.parquet, matrices.parquet, spectra.parquet, manifest.json, figures/ and report.html. Started again with
the same workdir it continues after the last finished removal. What can be taken out: `--config.removals`, see
eigensweep.engine.spectral.removal. With --dry_run it says what it would take.
"""

from pathlib import Path
from typing import Any

from absl import flags

from eigensweep import models
from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.spectral import removal
from eigensweep.engine.studies.ablation.factors import Decompositions, edit
from eigensweep.engine.studies.ablation.outputs import outputs_of
from eigensweep.engine.studies.ablation.scopes import check_bands, resolve_scopes
from eigensweep.engine.studies.ablation.study import Ablation, AblationOptions, run_ablation
from eigensweep.engine.studies.ablation.summary import render
from eigensweep.engine.studies.edited_model import open_measure
from eigensweep.engine.studies.factors import factor_folder, factor_store

_WRITE = flags.DEFINE_string(
    "write_checkpoint", None, "write the checkpoint without the values of --removal here, for transformers to load"
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print what there is to do, the memory and the time, and stop")
_REMOVAL = flags.DEFINE_string(
    "removal", None, "SCOPE/REMOVAL for --write_checkpoint, such as query/decile:10; not needed if there is only one"
)


def main() -> None:
    """Settings -> study -> summary, report, edited checkpoint; or its plan."""

    if _DRY_RUN.value:
        from eigensweep.engine.studies.ablation.plan import describe_plan, make_plan

        source, options, _ = runner.settings(AblationOptions)
        print(describe_plan(make_plan(runner.opened(source), options)))
        return

    places: list[str] = []

    def study(checkpoint: Any, options: AblationOptions, workdir: str, on_progress: Any) -> Ablation:
        if to_write := _to_write(options):  # checked before hours of work
            _check(checkpoint, *to_write)
        places.append(workdir)
        return run_ablation(checkpoint, options, workdir, on_progress)

    checkpoint, options = runner.run_study(AblationOptions, study, render)
    if to_write := _to_write(options):
        try:
            matches = _matches(checkpoint, options, places[0], *to_write)
            edited = edit(checkpoint.matrices, *to_write, options, matches)
            print(f"checkpoint: {models.write_huggingface(checkpoint, _WRITE.value or '', edited)}")
        except OSError as error:
            raise UserError(f"--write_checkpoint={_WRITE.value}: {error.strerror or error}") from error


def _matches(
    checkpoint: models.Checkpoint, options: AblationOptions, workdir: str, scope: str, taken: removal.Removal
) -> dict[str, removal.Match]:
    """How many random directions a removal of kind "output" takes, by matrix; others need none."""
    if taken.kind != "output":
        return {}
    matrices = [matrix for found in resolve_scopes(checkpoint.matrices, (scope,)).values() for matrix in found]
    with factor_folder(options, Path(workdir)):
        store = factor_store(checkpoint.identity, options, Path(workdir), options.strategy)
        measure = open_measure(checkpoint, options, options.seed)
        outputs = outputs_of(matrices, (taken,), measure, Decompositions(store, options)) or {}
    return {name: found.matches[str(taken)] for name, found in outputs.items()}


def _to_write(options: AblationOptions) -> tuple[str, removal.Removal] | None:
    """What --write_checkpoint writes: scope and removal; None where nothing is to be written.

    Raises:
      UserError: the removal is not clear.
    """
    text = _REMOVAL.value
    if not _WRITE.value:
        if text:
            raise UserError("--removal says what --write_checkpoint writes, and that is not given")
        return None
    if text:
        scope, _, name = text.rpartition("/")
    elif len(options.scopes) == len(options.removals) == len(options.expanded()[0]) == 1:
        scope, name = options.scopes[0], options.removals[0]
    elif not options.expanded()[0]:
        raise UserError("--write_checkpoint: removals from the stream (covariance:...) change no matrix")
    else:
        raise UserError("the study has several removals: say which to write, as --removal=query/decile:10")
    if not scope:
        raise UserError(f"--removal={text}: expected SCOPE/REMOVAL, such as query/decile:10")
    try:
        return scope, removal.parse(name)
    except ValueError as error:
        raise UserError(f"--removal: {error}") from error


def _check(checkpoint: models.Checkpoint, scope: str, taken: removal.Removal) -> None:
    """Can the checkpoint be written without these values?

    Raises:
      UserError: the folder is there, the checkpoint is no folder with safetensors, or the scope is several.
      RunError: no such matrices or bands.
    """
    out = Path(_WRITE.value or "")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--write_checkpoint={out}: is there already, and not an empty folder")
    if checkpoint.source.kind != "huggingface":
        raise UserError(
            f"--write_checkpoint: {checkpoint.source.name} is of kind {checkpoint.source.kind}; only folders with "
            "safetensors are written back"
        )
    scopes = resolve_scopes(checkpoint.matrices, (scope,))
    if len(scopes) > 1:
        raise UserError(
            f"--write_checkpoint: {scope} stands for {len(scopes)} scopes, each measured by itself: say which to "
            f"write, as --removal={next(iter(scopes))}/{taken}"
        )
    check_bands(scopes, (taken,))


run = runner.console(main, AblationOptions)

if __name__ == "__main__":
    run()
