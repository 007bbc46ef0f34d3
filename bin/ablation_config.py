"""A removal study's options, from its config and flags."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigensweep.bin.cli import UserError
from eigensweep.bin.config_flag import parse_words

if TYPE_CHECKING:
    from eigensweep.engine.run.ablation import AblationOptions
    from eigensweep.engine.spectral.removal import Removal
    from eigensweep.models import Checkpoint

OPTIONS = ("num_draws", "seed", "level", "sigma", "strategy", "num_resamples", "confidence")


def options_from(config: Any) -> "AblationOptions":
    """The engine's options from a config.

    Raises:
      UserError: on a value that is none of the allowed ones.
    """
    from eigensweep.engine.run.ablation import AblationOptions

    values: dict[str, Any] = {name: parse_words(config[name]) for name in ("scopes", "removals")}
    values |= {name: config[name] for name in OPTIONS}
    try:
        return AblationOptions(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"config: {error}") from error


def removal_to_write(
    folder: str | None, text: str | None, options: "AblationOptions"
) -> tuple[str, "Removal"] | None:
    """What --write_checkpoint writes, checked before hours of work; None where nothing is to be written.

    Args:
      folder: of --write_checkpoint.
      text: of --removal, "SCOPE/REMOVAL"; None: the study's only one.
      options: the study's.

    Raises:
      UserError: the folder is there, or the removal is not clear.
    """
    from eigensweep.engine.spectral import removal

    if not folder:
        if text:
            raise UserError("--removal says what --write_checkpoint writes, and that is not given")
        return None
    out = Path(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--write_checkpoint={out}: is there already, and not an empty folder")
    if text:
        scope, _, name = text.rpartition("/")
    elif len(options.scopes) == len(removal.expand(options.removals, options.num_draws)) == 1:
        scope, name = options.scopes[0], options.removals[0]
    else:
        raise UserError("the study has several removals: say which to write, as --removal=query/decile:10")
    if not scope:
        raise UserError(f"--removal={text}: expected SCOPE/REMOVAL, such as query/decile:10")
    try:
        return scope, removal.parse(name)
    except ValueError as error:
        raise UserError(f"--removal: {error}") from error


def check_removal(checkpoint: "Checkpoint", scope: str, taken: "Removal") -> None:
    """Can the checkpoint be written without these values?

    Raises:
      UserError: it is no folder with safetensors; RunError: no such matrices or bands.
    """
    from eigensweep.engine.run.ablation_plan import check_bands, resolve_scopes

    if checkpoint.source.kind != "huggingface":
        raise UserError(
            f"--write_checkpoint: {checkpoint.source.name} is of kind {checkpoint.source.kind}; only folders with "
            "safetensors are written back"
        )
    check_bands(resolve_scopes(checkpoint.matrices, (scope,)), (taken,))
