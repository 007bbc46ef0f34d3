"""How far a study is: a bar with time left on a terminal and in a notebook, plain lines in a log."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from eigensweep.engine.run.progress import OnProgress, Progress

SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def reporter() -> Iterator[OnProgress]:
    """The `on_progress` callback for this process: a bar where somebody looks, lines on standard error otherwise."""
    if sys.stderr.isatty() or _in_notebook():
        with bar() as report:
            yield report
    else:
        yield lines()


def _in_notebook() -> bool:
    """Whether this is a Jupyter kernel: only there has IPython's shell a kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def lines() -> OnProgress:
    """A line at each new phase and now and then, with the time left."""
    start = time.monotonic()
    last = -SECONDS_BETWEEN_LINES
    work_before: float | None = None
    phase_before = ""

    def report(progress: Progress) -> None:
        nonlocal last, work_before, phase_before
        now = time.monotonic() - start
        is_new = progress.phase != phase_before
        if work_before is None and progress.work_total:
            work_before = progress.work_done
        elif not is_new and now - last < SECONDS_BETWEEN_LINES and progress.done < progress.total:
            return
        last, phase_before = now, progress.phase
        print(_line(progress, now, work_before or 0.0), file=sys.stderr, flush=True)

    return report


def _line(progress: Progress, now: float, work_before: float) -> str:
    done_here = progress.work_done - work_before
    left = (progress.work_total - progress.work_done) / done_here * now if done_here > 0 else None
    parts = [f"{progress.done} of {progress.total} in {now:.1f} s"] if progress.total else [f"{now:.1f} s"]
    if left:
        parts.append(f"{left:.0f} s left")
    if phase := " ".join((progress.phase, progress.what.strip())).strip():
        parts.append(phase)
    return ", ".join(parts)


@contextlib.contextmanager
def bar() -> Iterator[OnProgress]:
    """A bar of the work done, before it what is being done, behind it the time; it pulses while nothing is counted."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("starting", total=None, count="")

        def report(progress: Progress) -> None:
            text: dict[str, Any] = {
                "description": " ".join((progress.phase, progress.what.strip())).strip(),
                "count": f"{progress.done} of {progress.total}" if progress.total else "",
            }
            finished = 0 < progress.total <= progress.done  # what follows is not counted, so the bar pulses
            known = bool(progress.work_total) and progress.done > 0 and not finished
            shown.update(task, total=progress.work_total if known else None, completed=progress.work_done, **text)

        yield report
