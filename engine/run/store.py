"""The run directory: a manifest, Parquet parts written atomically, merged at the end; and reading it back."""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from eigensweep.engine.run.errors import RunError
from eigensweep.engine.run.schema import matrices_schema, spectra_schema

if TYPE_CHECKING:
    import pandas as pd

PARTS = "parts"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Run:
    """A finished sweep, from a run directory or from memory.

    Attributes:
      tables: "matrices" and "spectra" as Arrow tables.
      manifest: checkpoint identity, options, versions, devices, timings, what was left out and why.
      directory: the run directory; None for a run that left no files.
    """

    tables: dict[str, pa.Table]
    manifest: dict[str, Any]
    directory: Path | None = None

    @cached_property
    def matrices(self) -> "pd.DataFrame":
        """One row a matrix: scalars. Counts are nullable integers. Columns: engine.report.columns."""
        return _to_pandas(self.tables["matrices"])

    @cached_property
    def spectra(self) -> "pd.DataFrame":
        """One row a matrix: float64 arrays in index order, singular values descending."""
        return _to_pandas(self.tables["spectra"])

    def __repr__(self) -> str:
        source = self.manifest.get("checkpoint", {}).get("source")
        return (
            f"Run({source!r}, {self.tables['matrices'].num_rows} matrices, directory={str(self.directory)!r})"
        )


def _to_pandas(table: pa.Table) -> "pd.DataFrame":
    import pandas as pd

    integers = {pa.int64(): pd.Int64Dtype()}
    return table.to_pandas(types_mapper=integers.get)


def open_run(directory: str | Path) -> Run:
    """Read what a sweep left.

    Raises:
      RunError: if `directory` holds no finished run.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    if manifest is None:
        raise RunError(f"{directory}: not a run directory (no {MANIFEST})")
    if manifest.get("status") != "done":
        raise RunError(f"{directory}: the sweep has not finished; start it again with the same workdir")
    try:
        tables = {name: pq.read_table(directory / f"{name}.parquet") for name in ("matrices", "spectra")}
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{directory}: cannot read the tables: {error}") from error
    return Run(tables, manifest, directory)


def is_finished(directory: str | Path) -> bool:
    """Whether `directory` holds a finished run."""
    manifest = read_manifest(Path(directory))
    return manifest is not None and manifest.get("status") == "done"


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of `directory`; None where there is none."""
    path = directory / MANIFEST
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest atomically."""
    text = json.dumps(manifest, indent=1, allow_nan=False)
    write_atomically(directory / MANIFEST, lambda file: file.write(text.encode()))


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there: `path` is whole or as it was.

    Raises:
      RunError: if the folder cannot be written or the disk is full; nothing is left behind.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


class PartStore:
    """The parts of a running sweep: one file a batch, found again after an interruption."""

    def __init__(self, directory: Path, controls: tuple[str, ...]):
        self.directory = directory
        self.schemas = {"matrices": matrices_schema(controls), "spectra": spectra_schema(controls)}

    @property
    def folder(self) -> Path:
        return self.directory / PARTS

    def prepare(self, done: bool = False) -> None:
        """Remove what a killed process left half written; of a run that is done, its parts, too."""
        leftovers = [*self.directory.glob(".*.parquet.*"), *self.directory.glob(f".{MANIFEST}.*")]
        for leftover in [*leftovers, *self.folder.glob(".*")]:
            leftover.unlink(missing_ok=True)
        if done:
            self.remove()

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the rows of one batch (scalars and lists together), atomically."""
        schema = pa.unify_schemas(list(self.schemas.values()))
        table = pa.Table.from_pylist(list(rows), schema=schema)
        digest = hashlib.sha256("\0".join(row["name"] for row in rows).encode()).hexdigest()[:20]
        write_atomically(self.folder / f"{digest}.parquet", lambda file: pq.write_table(table, file))

    def finished(self) -> set[str]:
        """Names of the matrices that whole parts hold."""
        return {
            name
            for part in self._parts()
            for name in pq.read_table(part, columns=["name"])["name"].to_pylist()
        }

    def _parts(self) -> Iterator[Path]:
        yield from sorted(self.folder.glob("*.parquet")) if self.folder.is_dir() else ()

    def merge(self, order: Sequence[str], patience: float = 0.0) -> dict[str, pa.Table]:
        """The tables of all parts, rows in the given order of names.

        Args:
          order: the names that there must be.
          patience: seconds to wait for parts of other hosts, which a network file system may show late.

        Raises:
          RunError: rows are missing.
        """
        end = time.monotonic() + patience
        while missing := set(order) - self.finished():
            if time.monotonic() >= end:
                raise RunError(
                    f"{self.folder}: the rows of {len(missing)} matrices are missing ({min(missing)}, ...); start "
                    "again with the same workdir to compute them"
                )
            time.sleep(0.5)
        place = {name: i for i, name in enumerate(order)}
        return {
            key: in_order(
                pa.concat_tables([pq.read_table(p, columns=schema.names) for p in self._parts()]), place
            )
            for key, schema in self.schemas.items()
        }

    def remove(self) -> None:
        """Delete the parts (after the merged tables are safely written)."""
        for part in self._parts():
            part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def in_order(table: pa.Table, place: dict[str, int]) -> pa.Table:
    """Rows of `table` sorted by the place of their name, each name once (two processes may have done the same)."""
    first: dict[str, int] = {}
    for row, name in enumerate(table["name"].to_pylist()):
        first.setdefault(name, row)
    return table.take([first[name] for name in sorted(first, key=lambda name: place[name])])
