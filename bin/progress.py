"""Progress of a sweep: a bar with time left on a terminal, plain lines in a log."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from eigensweep.engine.run.sweep import Progress

SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def progress_reporter() -> Iterator[Callable[[Progress], None]]:
    """The `on_progress` callback for this process's standard error."""
    if sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _lines()


def _lines() -> Callable[[Progress], None]:
    start = time.monotonic()
    last = -SECONDS_BETWEEN_LINES
    work_before: float | None = None

    def report(progress: Progress) -> None:
        nonlocal last, work_before
        now = time.monotonic() - start
        if work_before is None:
            work_before = progress.work_done
        elif now - last < SECONDS_BETWEEN_LINES and progress.done < progress.total:
            return
        last = now
        done_here = progress.work_done - work_before
        left = (progress.work_total - progress.work_done) / done_here * now if done_here else None
        shape = f", last {progress.shape[0]} x {progress.shape[1]}" if progress.shape else ""
        eta = f", {left:.0f} s left" if left else ""
        print(
            f"{progress.done} of {progress.total} matrices in {now:.1f} s{eta}{shape}",
            file=sys.stderr,
            flush=True,
        )

    return report


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("decomposing"),
        BarColumn(),
        TextColumn("{task.fields[done]} of {task.fields[matrices]} matrices"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None, done=0, matrices=0)

        def report(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.work_total,
                completed=progress.work_done,
                done=progress.done,
                matrices=progress.total,
            )

        yield report
