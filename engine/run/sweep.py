"""The sweep: read ahead, decompose batch by batch, write each batch's rows, merge; continue after an interruption."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eigensweep.engine.run import hosts
from eigensweep.engine.run.analyze import analyze
from eigensweep.engine.run.errors import RunError
from eigensweep.engine.run.inputs import MatrixCollection, MatrixSource
from eigensweep.engine.run.lock import locked
from eigensweep.engine.run.memory import default_budget
from eigensweep.engine.run.options import SweepOptions
from eigensweep.engine.run.plan import Batch, Plan, make_plan
from eigensweep.engine.run.schema import matrices_schema, spectra_schema
from eigensweep.engine.run.store import (
    PartStore,
    Run,
    open_run,
    read_manifest,
    write_atomically,
    write_manifest,
)

PATIENCE = 60.0  # seconds until the parts of other hosts must have come through a network file system
VERSIONS = ("eigensweep", "jax", "jaxlib", "numpy", "scipy", "pyarrow")


@dataclass
class Progress:
    """What `on_progress` is told after every batch.

    Attributes:
      done, total: matrices finished (earlier starts included) and to sweep.
      work_done, work_total: the same, weighted by cost max(m, n) min(m, n)^2: time left follows from it.
      shape: shape of the batch just done; None at the start.
    """

    done: int
    total: int
    work_done: float
    work_total: float
    shape: tuple[int, int] | None = None


@dataclass
class _Timings:
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "analyze": 0.0, "write": 0.0})

    def add(self, what: str, start: float) -> None:
        self.seconds[what] += time.perf_counter() - start


def sweep(
    checkpoint: MatrixCollection,
    options: SweepOptions | None = None,
    workdir: str | Path | None = None,
    *,
    memory_bytes: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Decompose every chosen matrix of `checkpoint` and hold it against random matrix theory.

    Args:
      checkpoint: what `eigensweep.models.open_checkpoint` gives, or anything shaped like it.
      options: see `SweepOptions`; defaults when None.
      workdir: run directory. None keeps the results in memory. An unfinished run there is continued, a
        finished one is read back.
      memory_bytes: budget for the arrays of one batch; from the device's free memory when None.
      on_progress: called at the start and after every batch.

    Returns:
      The finished run.

    Raises:
      RunError: if the options leave nothing to sweep; if `workdir` belongs to another checkpoint or other
        options, is in use, or cannot be written.
    """
    options = options or SweepOptions()
    plan = make_plan(checkpoint, options)
    budget = memory_bytes or default_budget()
    if workdir is None:
        manifest = _new_manifest(checkpoint, options, plan)
        rows: list[dict[str, Any]] = []
        _work(plan, plan.batches(budget), options, rows.extend, manifest, on_progress)
        return _in_memory(plan, rows, options, manifest)
    _in_directory(Path(workdir), checkpoint, options, plan, budget, on_progress)
    return open_run(workdir)


def _in_directory(
    directory: Path,
    checkpoint: MatrixCollection,
    options: SweepOptions,
    plan: Plan,
    budget: int,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """The sweep of `checkpoint` in a run directory, alone or as one of several processes."""
    store = PartStore(directory, options.controls)
    with locked(directory) if hosts.is_first() else contextlib.nullcontext():
        manifest, finished = _agree(directory, checkpoint, options, plan, store)
        if manifest["status"] == "done":
            return
        todo = [i for i, done in enumerate(finished) if not done]
        mine = [todo[i] for i in hosts.my_share([_cost(plan.matrices[i].shape) for i in todo])]
        _work(plan, plan.batches(budget, only=mine), options, store.write, manifest, on_progress)
        hosts.wait_for_all("worked")
        if hosts.is_first():
            patience = PATIENCE if jax.process_count() > 1 else 0.0
            for name, table in store.merge([m.name for m in plan.matrices], patience).items():
                write_atomically(directory / f"{name}.parquet", partial(pq.write_table, table))
            write_manifest(directory, manifest | {"status": "done"})
            store.remove()
        hosts.wait_for_all("merged")


def _agree(
    directory: Path, checkpoint: MatrixCollection, options: SweepOptions, plan: Plan, store: PartStore
) -> tuple[dict[str, Any], np.ndarray]:
    """The manifest, and which matrices of the plan are finished: what the first process found, in every process."""
    finished, error = np.zeros(len(plan.matrices), np.uint8), ""
    if hosts.is_first():
        try:
            manifest = _claim(directory, checkpoint, options, plan)
            store.prepare(manifest["status"] == "done")
            names = store.finished()
            finished[:] = [m.name in names for m in plan.matrices]
        except RunError as refused:
            error = str(refused)
    hosts.wait_for_all("claimed")
    error = hosts.error_of_first(error)
    if error:
        raise RunError(error)
    if not hosts.is_first():
        manifest = read_manifest(directory) or {}
    return manifest, hosts.from_first(finished)


def _claim(
    directory: Path, checkpoint: MatrixCollection, options: SweepOptions, plan: Plan
) -> dict[str, Any]:
    """The manifest of the run in `directory`: the one there if it is this very run, else a new one."""
    there = read_manifest(directory)
    if there is None:
        manifest = _new_manifest(checkpoint, options, plan)
        write_manifest(directory, manifest)
        return manifest
    differences = options.differences(there.get("options", {}))
    theirs, ours = there.get("checkpoint", {}), checkpoint.identity
    if theirs.get("sha256") != ours.get("sha256"):
        differences.insert(
            0, f"checkpoint: {theirs.get('source')} there, {ours.get('source')} now (contents differ)"
        )
    if differences:
        raise RunError(
            f"{directory}: holds another run ({'; '.join(differences)}). Take a new workdir, or start it with "
            "the checkpoint and options that are there."
        )
    return there


def _new_manifest(checkpoint: MatrixCollection, options: SweepOptions, plan: Plan) -> dict[str, Any]:
    return {
        "eigensweep": version("eigensweep"),
        "status": "running",
        "checkpoint": checkpoint.identity,
        "options": options.to_json(),
        "versions": {name: version(name) for name in VERSIONS},
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
        "processes": jax.process_count(),
        "matrices": len(plan.matrices),
        "skipped": [
            {"name": name, "shape": list(shape), "dtype": dtype, "reason": reason}
            for name, shape, dtype, reason in plan.left_out
        ],
        "warnings": list(checkpoint.warnings),
        "timings": {},
    }


def _work(
    plan: Plan,
    batches: list[Batch],
    options: SweepOptions,
    write: Callable[[list[dict[str, Any]]], None],
    manifest: dict[str, Any],
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """Do the batches, largest matrices first (a run that will not fit fails at once, not after an hour)."""
    batches = sorted(batches, key=lambda b: -_cost(b.shape))
    todo = {i for b in batches for i in b.indices}
    total = sum(_cost(m.shape) for m in plan.matrices)
    done = sum(_cost(m.shape) for i, m in enumerate(plan.matrices) if i not in todo)
    state = Progress(len(plan.matrices) - len(todo), len(plan.matrices), done, total)
    timings, start = _Timings(), time.perf_counter()
    if on_progress:
        on_progress(state)
    for batch, ws in _read_ahead(plan, batches, timings):
        began = time.perf_counter()
        rows = _fitting([plan.matrices[i] for i in batch.indices], ws, options)
        timings.add("analyze", began)
        began = time.perf_counter()
        write(rows)
        timings.add("write", began)
        state.done += len(ws)
        state.work_done += _cost(batch.shape) * len(ws)
        state.shape = batch.shape
        if on_progress:
            on_progress(state)
    timings.seconds["total"] = time.perf_counter() - start
    earlier = manifest.get("timings", {})
    manifest["timings"] = {k: round(v + earlier.get(k, 0.0), 3) for k, v in timings.seconds.items()}


def _cost(shape: tuple[int, int]) -> float:
    return float(max(shape)) * min(shape) ** 2


def _read_ahead(
    plan: Plan, batches: Iterable[Batch], timings: _Timings
) -> Iterator[tuple[Batch, list[np.ndarray]]]:
    """Each batch with its arrays; the next one is read while this one is worked on."""

    def read(batch: Batch) -> list[np.ndarray]:
        began = time.perf_counter()
        ws = [plan.matrices[i].read() for i in batch.indices]
        timings.add("read", began)
        return ws

    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        pending: list[tuple[Batch, Any]] = []
        for batch in batches:
            pending.append((batch, reader.submit(read, batch)))
            if len(pending) == 2:
                ready, future = pending.pop(0)
                yield ready, future.result()
        for ready, future in pending:
            yield ready, future.result()


def _fitting(
    sources: list[MatrixSource], ws: list[np.ndarray], options: SweepOptions
) -> list[dict[str, Any]]:
    """`_rows`, in halves where the device has no room for the batch.

    Raises:
      RunError: not even one matrix fits.
    """
    try:
        return _rows(sources, ws, options)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        if len(ws) == 1:
            device = jax.local_devices()[0].device_kind
            raise RunError(
                f"{sources[0].name}: out of memory on {device}; strategy=streamed works on the host, matrix by matrix"
            ) from error
    half = len(ws) // 2
    return [
        *_fitting(sources[:half], ws[:half], options),
        *_fitting(sources[half:], ws[half:], options),
    ]


def _rows(sources: list[MatrixSource], ws: list[np.ndarray], options: SweepOptions) -> list[dict[str, Any]]:
    """One row a matrix: its identity and either its statistics or the status that forbids them."""
    found = analyze(ws, [source.name for source in sources], options)
    return [
        {
            "name": source.name,
            "role": source.role,
            "block": source.block,
            "expert": source.expert,
            "m": source.shape[0],
            "n": source.shape[1],
            "dtype": source.dtype,
        }
        | statistics
        for source, statistics in zip(sources, found, strict=True)
    ]


def _in_memory(
    plan: Plan, rows: list[dict[str, Any]], options: SweepOptions, manifest: dict[str, Any]
) -> Run:
    place = {m.name: i for i, m in enumerate(plan.matrices)}
    rows = sorted(rows, key=lambda row: place[row["name"]])
    tables = {
        "matrices": pa.Table.from_pylist(rows, schema=matrices_schema(options.controls)),
        "spectra": pa.Table.from_pylist(rows, schema=spectra_schema(options.controls)),
    }
    return Run(tables, manifest | {"status": "done"})
