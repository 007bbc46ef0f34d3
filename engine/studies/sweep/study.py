"""The sweep: every chosen matrix, and its random controls, decomposed and held against random matrix theory."""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eigensweep.engine.run.inputs import MatrixCollection, MatrixSource
from eigensweep.engine.run.memory import default_budget
from eigensweep.engine.run.nulls import draws_needed
from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.run.stream import batches, cost, read_ahead
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.studies.sweep.plan import Plan, make_plan
from eigensweep.engine.studies.sweep.readings import rows_of
from eigensweep.engine.tables import hosts
from eigensweep.engine.tables.check import KEYS, LEFT_OUT, NEEDED
from eigensweep.engine.tables.claim import claimed, new_manifest
from eigensweep.engine.tables.columns import Columns, to_table
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.matrices import CONTROLS, SCALARS, VECTORS, control_prefix, with_controls
from eigensweep.engine.tables.result import MatrixResult

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from eigensweep.engine.studies.sweep.notebook import Page, Vectors

NAME = "sweep"


def notebook() -> Any:
    """What a run shows of itself; loaded when it is asked for, because it draws and reads checkpoints."""
    return importlib.import_module("eigensweep.engine.studies.sweep.notebook")


@dataclass(frozen=True, repr=False)
class Run(MatrixResult):
    """A finished sweep, from a run directory or from memory.

    Attributes:
      checkpoint: what was swept, where this process swept it; `vectors` opens it again otherwise.
    """

    checkpoint: MatrixCollection | None = field(default=None, compare=False)
    layout: ClassVar[Layout] = Layout(
        NAME,
        with_controls(()),
        keys=KEYS,
        needed=NEEDED,
        also=with_controls(tuple(CONTROLS), equalised=True, signs=True),
    )
    options: ClassVar[type[SweepOptions]] = SweepOptions

    def summary(self) -> "pd.DataFrame":
        """A row a role: medians and ranges of the readings, see `engine.summary_table`."""
        return notebook().summary_table(self)

    def plot(self, role: str = "", name: str = "", kind: str = "spectrum") -> "Figure":
        """A figure of one role's or one matrix's `kind`: spectrum, p_values, ranks or map; see `notebook.plot`."""
        return notebook().plot(self, role, name, kind)

    def vectors(self, name: str, k: int | slice = 0) -> "Vectors":
        """Singular vectors of a matrix, computed anew from the checkpoint; see `notebook.vectors`."""
        return notebook().vectors(self, name, k)

    def compare(self, *others: "Run") -> "pd.DataFrame":
        """Medians and sums by role, of this run and others beside each other; see `notebook.compare`."""
        return notebook().compare([self, *others])

    def report(self, height: int = 900) -> "Page":
        """The interactive page, shown inside a notebook; `height` in pixels."""
        return notebook().Page.of(self, height)

    def _repr_html_(self) -> str:
        return notebook().shown(self)


def open_run(directory: str | Path) -> Run:
    """Read what a sweep left; columns of a control that a run of version 0.1 calls `control_` are named by its kind.

    Raises:
      RunError: if `directory` holds no finished sweep.
    """
    run = Run.read(directory)
    chosen = run.manifest.get("options", {}).get("control", "none")
    prefix = control_prefix({"both": "gaussian"}.get(chosen, chosen))
    old = {f"control_{column}": prefix + column for column in (*SCALARS, *VECTORS)}
    for name, table in run.tables.items():
        run.tables[name] = table.rename_columns([old.get(c, c) for c in table.column_names])
    return run


def is_finished(directory: str | Path) -> bool:
    """Whether `directory` holds a finished sweep."""
    return Run.layout.is_finished(directory)


def sweep(
    checkpoint: MatrixCollection,
    options: SweepOptions | None = None,
    workdir: str | Path | None = None,
    *,
    memory_bytes: int | None = None,
    on_progress: OnProgress = silent,
) -> Run:
    """Decompose every chosen matrix of `checkpoint` and hold it against random matrix theory.

    Args:
      checkpoint: what `eigensweep.models.open_checkpoint` gives, or anything shaped like it.
      options: see `SweepOptions`; defaults when None.
      workdir: run directory. None keeps the results in memory. An unfinished run there is continued, a
        finished one is read back.
      memory_bytes: budget for the arrays of one batch; from the devices' free memory when None.
      on_progress: called at every new phase, and before and after every batch.

    Returns:
      The finished run.

    Raises:
      RunError: if the options leave nothing to sweep; if `workdir` belongs to another checkpoint or other
        options, is in use, or cannot be written.
    """
    options = options or SweepOptions()
    plan = make_plan(checkpoint, options)
    files = Layout(NAME, _tables(options))
    on_progress(Progress(0, 0, 0.0, 0.0, phase="hashing the checkpoint"))
    identity = {"checkpoint": checkpoint.identity, "options": options.to_json()}
    skipped = [dict(zip(LEFT_OUT, entry, strict=True)) for entry in plan.left_out]
    warnings = [*checkpoint.warnings, *_raised_draws(plan, options)]
    record = {"matrices": len(plan.matrices), "skipped": skipped, "warnings": warnings}
    budget = memory_bytes or default_budget()
    if workdir is None:
        _fetch(checkpoint, plan.matrices)
        rows: dict[str, dict[str, Any]] = {}
        seconds = _work(plan, plan.matrices, options, budget, lambda new, spent: rows.update(new), on_progress)
        ordered = [rows[matrix.name] for matrix in plan.matrices]
        tables = {name: to_table(columns, ordered) for name, columns in files.tables.items()}
        done = {"status": "done", "timings": {what: round(spent, 3) for what, spent in seconds.items()}}
        return Run(tables, new_manifest(files, identity, record) | done, checkpoint=checkpoint)
    with claimed(workdir, files, identity, record) as work:
        if not work.done:
            names = [matrix.name for matrix in plan.matrices]
            todo = set(work.todo(names))
            sources = [matrix for matrix in plan.matrices if matrix.name in todo]
            mine = [sources[i] for i in hosts.my_share([cost(source.shape) for source in sources])]
            _fetch(checkpoint, mine)

            def write(rows: dict[str, dict[str, Any]], seconds: dict[str, float]) -> None:
                work.write({name: {t: [row] for t in files.tables} for name, row in rows.items()}, seconds)

            _work(plan, mine, options, budget, write, on_progress, len(plan.matrices) - len(sources))
            work.finish(names)
    return replace(open_run(workdir), checkpoint=checkpoint)


def _fetch(checkpoint: MatrixCollection, matrices: Sequence[MatrixSource]) -> None:
    """Bring what is to be read, and nothing else, where the checkpoint lies elsewhere."""
    if fetch := getattr(checkpoint, "fetch", None):
        fetch(matrices)


def _tables(options: SweepOptions) -> dict[str, Columns]:
    return dict(with_controls(options.controls, equalised=options.equalise, signs=options.num_flips > 0))


def _raised_draws(plan: Plan, options: SweepOptions) -> list[str]:
    """A line on the matrices whose Monte Carlo null takes more draws than were asked for."""
    largest = max(min(matrix.shape) for matrix in plan.matrices)
    needed = draws_needed(largest, options.level)
    if options.null != "monte_carlo" or needed <= options.num_draws:
        return []
    return [
        f"num_draws={options.num_draws} is raised for large matrices, to {needed} for the {largest} vectors of the "
        f"largest: from min(m, n)/level draws on Benjamini-Hochberg can reject one at level {options.level:g}"
    ]


def _work(
    plan: Plan,
    sources: Sequence[MatrixSource],
    options: SweepOptions,
    budget: int,
    write: Callable[[dict[str, dict[str, Any]], dict[str, float]], None],
    on_progress: OnProgress,
    done: int = 0,
) -> dict[str, float]:
    """Sweep `sources`, handing every batch's rows by name and its seconds to `write`; returns the seconds' sums."""
    total = sum(cost(m.shape) for m in plan.matrices)
    state = Progress(done, len(plan.matrices), total - sum(cost(m.shape) for m in sources), total)
    state.phase = "reading"
    on_progress(state)
    sums: dict[str, float] = {}
    start = time.perf_counter()
    for batch, ws, read in read_ahead(batches(sources, budget)):
        began = time.perf_counter()
        state.phase = "decomposing" if sums else "compiling and decomposing"
        state.what = f"{len(ws)} of {batch.shape[0]} x {batch.shape[1]}"
        on_progress(state)
        rows = rows_of(batch.sources, ws, options)
        now = time.perf_counter()
        seconds = {"read": read, "analyze": now - began, "total": now - start}
        start = now
        write({row["name"]: row for row in rows}, seconds)
        sums = {what: spent + sums.get(what, 0.0) for what, spent in seconds.items()}
        state.done += len(ws)
        state.work_done += cost(batch.shape) * len(ws)
        on_progress(state)
    return sums
