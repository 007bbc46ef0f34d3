"""What a finished study left: its tables and its manifest, from a run directory or from memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import read_table
from eigensweep.engine.tables.layout import Layout, studies_in

if TYPE_CHECKING:
    import pandas as pd


class frame_of:
    """An attribute of a result: one of its tables for pandas, typed for checkers."""

    def __init__(self, table: str, doc: str):
        self.table, self.__doc__ = table, doc

    def __get__(self, result: "Result | None", owner: Any = None) -> "pd.DataFrame":
        return self if result is None else result.frame(self.table)  # type: ignore[return-value]


@dataclass(frozen=True)
class Result:
    """A finished study; the studies' own classes add what is asked of their tables.

    Attributes:
      tables: Arrow tables by the stem of their file.
      manifest: what the numbers depend on, versions, devices, timings, what was left out and why.
      directory: the run directory; None for a run that left no files.
    """

    tables: dict[str, pa.Table]
    manifest: dict[str, Any]
    directory: Path | None = None
    layout: ClassVar[Layout]  # the study's files
    _frames: dict[str, "pd.DataFrame"] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def read(cls, directory: str | Path) -> Self:
        """Read what a study left.

        Raises:
          RunError: `directory` holds no finished study of this kind.
        """
        directory, layout = Path(directory), cls.layout
        manifest = layout.read_manifest(directory)
        if manifest is None:
            found = ", ".join(studies_in(directory)) if directory.is_dir() else ""
            holds = f" (it holds: {found})" if found else ""
            raise RunError(f"{directory}: not the run directory of a finished {layout.study}{holds}")
        if manifest.get("status") != "done":
            raise RunError(f"{directory}: the {layout.study} has not finished; start it again with the same workdir")
        tables = {table: read_table(directory / f"{table}.parquet") for table in layout.tables}
        return cls(tables, manifest, directory)

    @property
    def study(self) -> str:
        """Which study it is of."""
        return str(self.manifest.get("study", self.layout.study))

    def frame(self, table: str) -> "pd.DataFrame":
        """A table for pandas, made once: counts as nullable integers, lists as float64 arrays."""
        if table not in self._frames:
            import pandas as pd

            integers = {pa.int64(): pd.Int64Dtype()}
            self._frames[table] = self.tables[table].to_pandas(types_mapper=integers.get)
        return self._frames[table]

    def __repr__(self) -> str:
        source = self.manifest.get("checkpoint", {}).get("source")
        sizes = ", ".join(f"{name}: {table.num_rows} rows" for name, table in self.tables.items())
        return f"{type(self).__name__}({source!r}, {sizes}, directory={str(self.directory)!r})"


class MatrixResult(Result):
    """A result with the tables of decomposed matrices, whose columns `tables.matrices` declares."""

    matrices = frame_of("matrices", "One row a matrix: scalars; counts are nullable integers.")
    spectra = frame_of("spectra", "One row a matrix: float64 arrays in index order, singular values descending.")
