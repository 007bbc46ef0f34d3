"""What is finished of a running study: parts written atomically, found again after an interruption, merged at the end.

A part is one Parquet file with a row a finished unit of work (a matrix, a removal, a block): its name, how long it
took, and its rows of every table as lists of structs. It carries a digest of the identity of the run that it belongs
to: a part of another run is never taken for one's own.
"""

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eigensweep.engine.tables import hosts
from eigensweep.engine.tables.check import SUMS, file_sum
from eigensweep.engine.tables.columns import schema
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import read_table, remove_unfinished, table_bytes, write_bytes, write_json
from eigensweep.engine.tables.layout import Layout

RUN = "run"
"""The key of the digest in a part's metadata."""
PATIENCE = 60.0  # seconds until the parts of other hosts must have come through a network file system
Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""The rows of one unit, by table."""
Amend = Callable[[dict[str, pa.Table]], dict[str, pa.Table]]
"""From merged tables to tables of the same columns and rows."""


class Work:
    """A study at work in its run directory, from `claim.claimed`.

    Attributes:
      manifest: as it stands; what `finish` is given comes on top.
      done: whether the study was finished before; then there is nothing to do.
    """

    def __init__(self, directory: Path, layout: Layout, manifest: Mapping[str, Any], digest: str):
        self.directory, self.layout, self.manifest = directory, layout, dict(manifest)
        self._folder, self._digest = layout.parts(directory), digest
        self._tables = {table: schema(columns) for table, columns in layout.tables.items()}
        nested = {table: pa.list_(pa.struct(list(fields))) for table, fields in self._tables.items()}
        self._schema = pa.schema({"unit": pa.string(), "seconds": pa.string()} | nested, metadata={RUN: self._digest})
        self.done = self.manifest.get("status") == "done"
        if hosts.is_first():
            remove_unfinished(self._folder)
            if self.done:  # killed between the last write and the cleaning up
                self._remove_parts()

    def todo(self, units: Sequence[str]) -> list[str]:
        """Those of `units` without rows, in their order: what the first process found, in every process."""
        finished = np.zeros(len(units), np.uint8)
        if hosts.is_first() and not self.done:
            there = self._finished()
            finished[:] = [unit in there for unit in units]
        finished = np.ones_like(finished) if self.done else hosts.from_first(finished)
        return [unit for unit, found in zip(units, finished, strict=True) if not found]

    def write(self, rows: Mapping[str, Rows], seconds: Mapping[str, float] | None = None) -> None:
        """Write finished units, atomically: all of them or none.

        Args:
          rows: of every unit, by unit and table.
          seconds: how long they took together, by what was done.
        """
        shares = {what: spent / len(rows) for what, spent in (seconds or {}).items()}
        part = [
            {"unit": unit, "seconds": json.dumps(shares)}
            | {table: [dict(row) for row in of.get(table, ())] for table in self._tables}
            for unit, of in rows.items()
        ]
        digest = hashlib.sha256("\0".join((self._digest, *rows)).encode()).hexdigest()[:20]
        data = table_bytes(pa.Table.from_pylist(part, self._schema))
        write_bytes(self._folder / f"{digest}-{file_sum(data)[:20]}.parquet", data)

    def read(self, unit: str) -> dict[str, list[dict[str, Any]]]:
        """The rows of a finished unit, by table.

        Raises:
          RunError: it is not finished.
        """
        for part in self._parts():
            if unit in (names := part["unit"].to_pylist()):
                row = part.slice(names.index(unit), 1).to_pylist()[0]
                return {table: row[table] for table in self._tables}
        raise RunError(f"{self._folder}: {unit} is not finished")

    def finish(self, units: Sequence[str], amend: Amend | None = None, **record: Any) -> None:
        """Merge the parts into the tables, rows in the order of `units`; add `record` to the manifest and say `done`.

        Args:
          amend: fills columns that only all units together can tell.

        Raises:
          RunError: units are missing (of several processes one may have died); nothing is written then.
        """
        hosts.wait_for_all("worked")
        if hosts.is_first():
            patience = PATIENCE if jax.process_count() > 1 else 0.0
            merged, seconds = self._merged(units, patience)
            sums = {}
            for table, rows in (merged if amend is None else amend(merged)).items():
                data = table_bytes(rows)
                write_bytes(self.directory / f"{table}.parquet", data)
                sums[f"{table}.parquet"] = file_sum(data)
            timings = {what: round(spent, 3) for what, spent in seconds.items()}
            self.manifest |= {"timings": timings, **record, SUMS: sums, "status": "done"}
            write_json(self.directory / self.layout.manifest, self.manifest)
            self._remove_parts()
        hosts.wait_for_all("merged")
        self.done = True

    def _merged(self, units: Sequence[str], patience: float) -> tuple[dict[str, pa.Table], Counter[str]]:
        """The tables, and the seconds that all starts spent on what they finished."""
        end = time.monotonic() + patience
        while missing := set(units) - self._finished():
            if time.monotonic() >= end:
                raise RunError(
                    f"{self._folder}: the rows of {len(missing)} of {len(units)} units are missing ({min(missing)}, "
                    "...); start again with the same workdir to compute them"
                )
            time.sleep(0.5)
        whole = pa.concat_tables([self._schema.empty_table(), *self._parts()])
        place: dict[str, int] = {}
        for row, unit in enumerate(whole["unit"].to_pylist()):
            place.setdefault(unit, row)  # two processes may have done the same
        whole = whole.take([place[unit] for unit in units]).combine_chunks()
        tables = {}
        for table, fields in self._tables.items():
            chunks = [chunk.flatten() for chunk in whole[table].chunks]  # of every list its rows, in order
            arrays = [[struct.field(i) for struct in chunks] for i in range(len(fields))]
            columns = [pa.chunked_array(c, field.type) for c, field in zip(arrays, fields, strict=True)]
            tables[table] = pa.Table.from_arrays(columns, schema=fields)
        seconds: Counter[str] = Counter()
        for spent in whole["seconds"].to_pylist():
            seconds.update(json.loads(spent))
        return tables, seconds

    def _finished(self) -> set[str]:
        return {unit for part in self._parts(["unit"]) for unit in part["unit"].to_pylist()}

    def _parts(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The parts of this very run."""
        for path in sorted(self._folder.glob("*.parquet")):
            if _run_of(path) == self._digest:
                table = read_table(path, partial(_check_part, path))
                yield table if columns is None else table.select(columns)

    def _remove_parts(self) -> None:
        for path in self._folder.glob("*.parquet"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()


def _check_part(path: Path, data: bytes) -> None:
    """Its name ends with its sum; not so in versions before 0.3."""
    if (known := path.stem.partition("-")[2]) and known != file_sum(data)[:20]:
        raise RunError(f"{path}: is damaged; delete it, and start again with the same workdir to do its units again")


def digest_of(identity: Mapping[str, Any], layout: Layout) -> str:
    """What parts and tables of a run carry: a hash of everything that its numbers depend on, JSON-able."""
    # a version with other columns begins anew
    columns = {table: list(of) for table, of in layout.tables.items()}
    return hashlib.sha256(json.dumps([identity, columns], sort_keys=True).encode()).hexdigest()


def remove_foreign_parts(folder: Path, digest: str) -> int:
    """Remove the parts that another run left; returns their number. What is no Parquet file stays, to be named."""
    removed = 0
    for path in sorted(folder.glob("*.parquet")):
        with contextlib.suppress(RunError):
            if _run_of(path) != digest:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def _run_of(path: Path) -> str:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    return metadata.get(RUN.encode(), b"").decode(errors="replace")
