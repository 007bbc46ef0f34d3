"""The tables of many finished runs as one frame, read one after the other and no further than asked for."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eigensweep.engine.report.style import natural
from eigensweep.engine.studies.compare.stack import stack
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.result import Result

if TYPE_CHECKING:
    import pandas as pd


class _Scalars(Result):
    """Of a sweep, the table of matrices alone."""

    layout: ClassVar[Layout] = Layout(
        Run.layout.study,
        {"matrices": Run.layout.tables["matrices"]},
        keys=Run.layout.keys,
        needed=Run.layout.needed,
        also=Run.layout.also,
    )


def open_runs(pattern: str | Path | Sequence[str | Path], columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """One frame of all finished sweeps: a row a matrix, the keys run, checkpoint, revision and step in front.

    Spectra are never read, and of the tables one at a time: with `columns` the frame of a thousand runs stays small.

    Args:
      pattern: a glob of run directories such as `fleet/*`, a folder of them, or a list of run directories. Folders
        without a finished sweep are passed over in a glob and refused in a list.
      columns: which of `matrices` to keep besides the keys; all by default.

    Returns:
      The rows of all runs in natural order of their directories (step-2 before step-10).

    Raises:
      RunError: no finished sweep there, a column that none of them has, or a damaged table.
    """
    found = []
    for directory in directories_of(pattern):
        read = _Scalars.read(directory)
        if columns is not None:
            table = read.tables["matrices"]
            kept = table.select([name for name in columns if name in table.column_names])
            read = _Scalars({"matrices": kept}, read.manifest, read.directory)
        found.append(read)
    frame = stack(found)
    if columns is not None and (unknown := [name for name in columns if name not in frame.columns]):
        raise RunError(f"{unknown[0]!r} is a column of none of the {len(found)} runs")
    return frame


def directories_of(pattern: str | Path | Sequence[str | Path]) -> list[Path]:
    """The run directories of finished sweeps that a pattern names, see `open_runs`."""
    if not isinstance(pattern, str | Path):
        return [Path(directory) for directory in pattern]
    found = list(_finished(Path(p) for p in glob.glob(str(Path(pattern).expanduser()))))
    if not found and Path(pattern).is_dir():
        found = list(_finished(Path(pattern).iterdir()))
    if not found:
        raise RunError(f"{pattern}: no run directory of a finished sweep is there")
    return sorted(found, key=lambda path: natural(str(path)))


def _finished(folders: Iterator[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir() and Run.layout.is_finished(folder):
            yield folder
