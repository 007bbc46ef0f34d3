"""Many checkpoints under one folder: each swept into a run directory of its own, one failing without the others.

Several processes may share the list: a directory in which another one works is passed over, and at the end whoever is
left takes what is missing. All that they know of each other is in the directories.
"""

import gc
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import pyarrow as pa
import pyarrow.parquet as pq

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.studies.sweep.study import Run, sweep
from eigensweep.engine.tables.claim import is_in_use
from eigensweep.engine.tables.columns import COUNT, FLOAT, TEXT, Column, to_table
from eigensweep.engine.tables.errors import InUse, RunError
from eigensweep.engine.tables.files import read_json, write_json, write_table
from eigensweep.models import Checkpoint, open_checkpoint
from eigensweep.models.errors import printable

FAILED = "failed.json"
"""What a run directory holds whose checkpoint could not be swept; the next start tries again."""
MOST_SHAPES = 32  # of matrices, after which compiled programs are let go of: each shape's take about 5 MiB
PAUSE = 0.5  # seconds between two looks at directories in which other processes work
_LONGEST = 1000  # characters of a reason

STATUS: dict[str, Column] = {
    "run": Column(TEXT, "", "name of the run directory under the workdir"),
    "checkpoint": Column(TEXT, "", "where the checkpoint came from, as it was asked for"),
    "status": Column(TEXT, "", "`done`, `failed`, `working` (in some process, at this moment) or `missing`"),
    "reason": Column(TEXT, "", "why it failed, in one line; empty where it did not"),
    "architecture": Column(TEXT, "", "the family that its tensors were read as; null until it is done"),
    "matrices": Column(COUNT, "", "how many were swept; null until it is done"),
    "parameters": Column(COUNT, "", "entries of the swept matrices, sum of m n; null until it is done"),
    "seconds": Column(FLOAT, "s", "what its sweep took, all starts together; null until it is done"),
}
"""The columns of fleet.parquet."""


@dataclass(frozen=True)
class Member:
    """A checkpoint (path or hub id) and its run directory."""

    source: str
    directory: Path


def sweep_all(
    members: Iterable[Member],
    options: SweepOptions,
    *,
    base: Checkpoint | None = None,
    memory_bytes: int | None = None,
    on_progress: OnProgress = silent,
) -> list[dict[str, Any]]:
    """Sweep every member that has no finished sweep; a member that fails is noted, and the next one begins.

    A finished directory is taken as it is: its checkpoint is not opened again. What failed before is tried again, but
    not what another process found to fail since this one began.

    Args:
      members: whose directories are all different.
      options: of every sweep; a directory with other options fails, and says so.
      base: of adapters, the model that they were trained on.

    Returns:
      A row of STATUS a member, in their order.
    """
    members = list(members)
    began, waiting, finished = time.time(), members, 0
    shapes: set[tuple[int, int]] = set()
    while waiting:
        passed_over = []
        for member in waiting:
            on_progress(Progress(finished, len(members), finished, len(members), member.directory.name, "sweeping"))
            if _is_done(member, options):
                with suppress(OSError):
                    (member.directory / FAILED).unlink()  # of a start with other options
            elif not _has_failed(member, since=began):
                try:
                    shapes |= _sweep(member, options, base, memory_bytes)
                except InUse:
                    passed_over.append(member)
                    continue
            if len(shapes) > MOST_SHAPES:
                jax.clear_caches()  # programs are kept on disk: those that are needed again come from there
                gc.collect()  # they hang in cycles
                shapes.clear()
            finished += 1
        if len(passed_over) == len(waiting):
            time.sleep(PAUSE)
        waiting = passed_over
    on_progress(Progress(finished, len(members), finished, len(members), phase="swept"))
    return [status_of(member) for member in members]


def status_of(member: Member) -> dict[str, Any]:
    """The row of STATUS of a member, from its directory alone."""
    row: dict[str, Any] = {"run": member.directory.name, "checkpoint": member.source, "reason": ""}
    if failed := _failure(member.directory):
        return row | {"status": "failed", "reason": str(failed.get("reason"))}
    manifest = _manifest(member.directory)
    if manifest.get("status") == "done":
        shapes = pq.read_table(member.directory / "matrices.parquet", columns=["m", "n"])
        sizes = [int(m) * int(n) for m, n in zip(*(shapes[x].to_pylist() for x in ("m", "n")), strict=True)]
        return row | {
            "status": "done",
            "architecture": manifest.get("checkpoint", {}).get("architecture"),
            "matrices": len(sizes),
            "parameters": sum(sizes),
            "seconds": manifest.get("timings", {}).get("total"),
        }
    return row | {"status": "working" if is_in_use(member.directory) else "missing"}


def write_status(rows: Iterable[Mapping[str, Any]], workdir: Path) -> pa.Table:
    """Write `workdir`/fleet.parquet and fleet.json: the same rows, for programs and for people."""
    table = to_table(STATUS, rows)
    write_table(workdir / "fleet.parquet", table)
    write_json(workdir / "fleet.json", {"models": table.to_pylist()})
    return table


def members_in(workdir: Path) -> Iterator[Member]:
    """The members of the status table that an earlier start left in `workdir`.

    Raises:
      RunError: there is none.
    """
    known = read_json(workdir / "fleet.json")
    rows = (known or {}).get("models")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and {"run", "checkpoint"} <= set(row) for row in rows
    ):
        raise RunError(f"{workdir}: no fleet.json of an earlier start is there: give --checkpoints")
    for row in rows:
        name = str(row["run"])
        if name != Path(name).name or name in ("", ".", ".."):
            raise RunError(f"{workdir / 'fleet.json'}: is damaged: {printable(name)!r} is no name of a run directory")
        yield Member(str(row["checkpoint"]), workdir / name)


def _sweep(
    member: Member, options: SweepOptions, base: Checkpoint | None, memory_bytes: int | None
) -> set[tuple[int, int]]:
    """Sweep one member, or note why that cannot be done; gives the shapes of its matrices.

    Raises:
      InUse: another process does.
    """
    if is_in_use(member.directory):  # before its checkpoint is fetched and hashed
        raise InUse(str(member.directory))
    try:
        checkpoint = open_checkpoint(member.source, base=base)
        sweep(checkpoint, options, member.directory, memory_bytes=memory_bytes)
        (member.directory / FAILED).unlink(missing_ok=True)
        return {matrix.shape for matrix in checkpoint.matrices}
    except InUse:
        raise
    except Exception as error:  # of whatever kind: the others go on, and the reason is kept
        known = isinstance(error, ValueError | OSError)
        reason = " ".join(f"{'' if known else type(error).__name__ + ': '}{error}".split())
        content = {"checkpoint": member.source, "reason": printable(reason)[:_LONGEST], "time": time.time()}
        with suppress(RunError):  # the directory itself may be what cannot be written; the status says missing then
            write_json(member.directory / FAILED, content)
    return set()


def _is_done(member: Member, options: SweepOptions) -> bool:
    """Whether its directory holds this sweep, finished; its checkpoint is not looked at."""
    manifest = _manifest(member.directory)
    return manifest.get("status") == "done" and manifest.get("options") == json.loads(json.dumps(options.to_json()))


def _manifest(directory: Path) -> dict[str, Any]:
    with suppress(RunError):  # a damaged one: the sweep says what is wrong with it
        return Run.layout.read_manifest(directory) or {}
    return {}


def _failure(directory: Path) -> dict[str, Any]:
    with suppress(RunError):
        return read_json(directory / FAILED) or {}
    return {}


def _has_failed(member: Member, since: float) -> bool:
    return os.path.exists(member.directory / FAILED) and float(_failure(member.directory).get("time", 0)) >= since
