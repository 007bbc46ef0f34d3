"""A study on top of a sweep: further tables in its run directory, written piece by piece, continued after a stop."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eigensweep.engine.run.errors import RunError
from eigensweep.engine.run.store import read_manifest, write_atomically


class Study:
    """The tables of one study in a run directory.

    While it runs, every finished unit (a block, say) leaves one part a table in `<name>_parts/`; at the end they are
    joined to `<name>.parquet` (the first table) and `<name>_<table>.parquet` (the others). `<name>.json` says what the
    numbers depend on, and whether the study is done.

    Attributes:
      directory: the run directory.
      name: of the study: the stem of its files.
      schemas: its tables, the first one the main one.
    """

    def __init__(self, directory: str | Path, name: str, schemas: Mapping[str, pa.Schema]):
        self.directory, self.name, self.schemas = Path(directory), name, dict(schemas)

    @property
    def _manifest(self) -> Path:
        return self.directory / f"{self.name}.json"

    @property
    def _folder(self) -> Path:
        return self.directory / f"{self.name}_parts"

    def manifest(self) -> dict[str, Any] | None:
        """What `begin` and `finish` wrote; None before."""
        if not self._manifest.exists():
            return None
        try:
            return json.loads(self._manifest.read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{self._manifest}: cannot be read: {error}") from error

    def begin(self, identity: Mapping[str, Any]) -> bool:
        """Start the study, or take it up where it stopped.

        Args:
          identity: everything that the numbers depend on, as JSON.

        Returns:
          True if it is done already.

        Raises:
          RunError: a study with another identity is there; names what differs and which files to remove.
        """
        there = self.manifest()
        run = read_manifest(self.directory)
        if run is not None and "study" in run:
            raise RunError(f"{self.directory}: holds a removal study; take another directory")
        wanted = json.loads(json.dumps(identity))
        if there is None:
            self._write_manifest({"status": "running", "identity": wanted})
            return False
        old = there.get("identity", {})
        different = sorted(key for key in {*old, *wanted} if old.get(key) != wanted.get(key))
        if different:
            changes = "; ".join(
                f"{key}: {old.get(key)!r} there, {wanted.get(key)!r} now" for key in different
            )
            raise RunError(
                f"{self.directory}: holds another {self.name} study ({changes}). Remove {self._manifest.name} and "
                f"{self._folder.name}, take another run directory, or start it with what is there."
            )
        return there.get("status") == "done"

    def finished(self) -> set[str]:
        """The units whose parts are all there."""
        tables = list(self.schemas)
        return {
            part.name[: -len(f".{tables[0]}.parquet")].replace("+", "/")
            for part in self._folder.glob(f"*.{tables[0]}.parquet")
            if not part.name.startswith(".") and all(self._other(part, tables[0], t).exists() for t in tables)
        }

    def write(self, unit: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Write the rows of a finished unit, by table; the main table last: with it the unit counts as done."""
        for table in reversed(self.schemas):
            part = pa.Table.from_pylist([dict(row) for row in rows[table]], schema=self.schemas[table])
            write_atomically(self._part(unit, table), partial(pq.write_table, part))

    def finish(self, units: Iterable[str], record: Mapping[str, Any]) -> None:
        """Join the parts in the order of `units`, remove them, and mark the study as done with `record` added."""
        units = list(units)
        for table, schema in self.schemas.items():
            parts = [pq.read_table(self._part(unit, table)) for unit in units]
            joined = pa.concat_tables(parts) if parts else schema.empty_table()
            write_atomically(self.path(table), partial(pq.write_table, joined))
        identity = (self.manifest() or {}).get("identity", {})
        self._write_manifest({"status": "done", "identity": identity, **record})
        for part in self._folder.glob("*"):
            part.unlink(missing_ok=True)
        if self._folder.is_dir():
            self._folder.rmdir()

    def path(self, table: str) -> Path:
        """The joined table's file."""
        main = table == next(iter(self.schemas))
        return self.directory / (f"{self.name}.parquet" if main else f"{self.name}_{table}.parquet")

    def read(self, table: str) -> pa.Table:
        """A joined table of a finished study.

        Raises:
          RunError: the study is not there, not done, or not readable.
        """
        if (self.manifest() or {}).get("status") != "done":
            raise RunError(f"{self.directory}: there is no finished {self.name} study")
        try:
            return pq.read_table(self.path(table))
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{self.path(table)}: cannot be read: {error}") from error

    def _part(self, unit: str, table: str) -> Path:
        return self._folder / f"{unit.replace('/', '+')}.{table}.parquet"

    def _other(self, part: Path, table: str, wanted: str) -> Path:
        return part.with_name(part.name[: -len(f"{table}.parquet")] + f"{wanted}.parquet")

    def _write_manifest(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=1, allow_nan=False)
        write_atomically(self._manifest, lambda file: file.write(text.encode()))
