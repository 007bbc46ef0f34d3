"""The options of studies that keep decompositions on disk, and the store that they open."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigensweep.engine.run.factors import FOLDER, FactorStore, clear
from eigensweep.engine.run.options import Options
from eigensweep.engine.studies.data import uncounted
from eigensweep.engine.tables.errors import RunError


@dataclass(frozen=True)
class FactorFields(Options):
    """Where decompositions are kept."""

    factors: str = uncounted(
        "", "folder that keeps the decompositions, for other studies too; by default in WORKDIR until the study is done"
    )
    factors_gib: float = uncounted(64.0, "of that folder; the files longest unused go", least=0.001)


def factor_store(
    identity: Mapping[str, Any], options: FactorFields, workdir: Path, strategy: str = "auto"
) -> FactorStore:
    """The store that the options name, else one in `workdir`.

    Args:
      identity: of the checkpoint.
      strategy: how matrices are decomposed.

    Raises:
      RunError: the folder of the options cannot be made.
    """
    try:
        if options.factors:  # before hours of work
            Path(options.factors).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"factors: {options.factors}: cannot be made: {error.strerror or error}") from error
    return FactorStore(options.factors or workdir / FOLDER, identity, strategy, options.factors_gib)


@contextlib.contextmanager
def factor_folder(options: FactorFields, workdir: Path) -> Iterator[None]:
    """The folder of `factor_store` in `workdir` goes when the work is done; after an interruption it stays."""
    yield
    if not options.factors:
        clear(workdir / FOLDER)
