"""What a finished study left: its tables and its manifest, from a run directory or from memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from eigensweep.engine.tables.check import (
    LISTS,
    check_lengths,
    check_manifest,
    check_same_rows,
    check_sum,
    check_table,
    smaller_sides,
)
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
    options: ClassVar[Any] = None  # the class of its options
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
        check_manifest(directory / layout.manifest, manifest, layout.record)
        cls._check_options(directory / layout.manifest, manifest.get("options", {}))
        read = cls({table: cls._read_table(directory, table, manifest) for table in layout.tables}, manifest, directory)
        read.check(directory)
        return read

    def check(self, directory: Path) -> None:
        """Hold the tables of a directory against each other.

        Raises:
          RunError: they do not belong together.
        """

    @classmethod
    def _read_table(cls, directory: Path, name: str, manifest: dict[str, Any]) -> pa.Table:
        layout, path = cls.layout, directory / f"{name}.parquet"
        table = read_table(path, lambda data: check_sum(path, data, manifest))
        columns = {**layout.also.get(name, {}), **layout.tables[name]}
        keys, needed = layout.keys.get(name, ()), layout.needed.get(name, ())
        check_table(path, table, columns, keys, needed, empty=name in layout.empty)
        return table

    @classmethod
    def _check_options(cls, path: Path, options: dict[str, Any]) -> None:
        if cls.options is not None:
            try:
                cls.options.check_types(options)
            except (TypeError, ValueError) as error:
                raise RunError(f"{path}: is damaged: options: {error}") from error

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

    def check(self, directory: Path) -> None:
        """Every matrix has its spectrum, of the length that its shape says; those without statistics may have none."""
        matrices, spectra = self.tables["matrices"], self.tables["spectra"]
        path = directory / "spectra.parquet"
        check_same_rows(path, spectra, matrices, ("name",))
        smaller = smaller_sides(directory / "matrices.parquet", matrices)
        rows = zip(matrices["name"].to_pylist(), matrices["status"].to_pylist(), smaller, strict=True)
        sides = {name: side if status == "ok" else None for name, status, side in rows}
        lists = [name for name in LISTS if name in self.layout.tables["spectra"]]
        check_lengths(path, spectra, lists, [sides[name] for name in spectra["name"].to_pylist()])

    matrices = frame_of("matrices", "One row a matrix: scalars; counts are nullable integers.")
    spectra = frame_of("spectra", "One row a matrix: float64 arrays in index order, singular values descending.")
