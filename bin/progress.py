"""How far a study is: a bar with time left on a terminal, plain lines in a log."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from eigensweep.engine.run.progress import OnProgress, Progress

SECONDS_BETWEEN_LINES = 10.0


def lines() -> OnProgress:
    """A line now and then, with the time left."""
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
        left = (progress.work_total - progress.work_done) / done_here * now if done_here > 0 else None
        what = f", last {progress.what.strip()}" if progress.what else ""
        eta = f", {left:.0f} s left" if left else ""
        print(f"{progress.done} of {progress.total} in {now:.1f} s{eta}{what}", file=sys.stderr, flush=True)

    return report


@contextlib.contextmanager
def bar() -> Iterator[OnProgress]:
    """A bar of the work done, with the unit that was the last one."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        TextColumn("{task.fields[done]} of {task.fields[units]} {task.fields[what]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("", total=None, done=0, units=0, what="")

        def report(progress: Progress) -> None:
            text: dict[str, Any] = {"done": progress.done, "units": progress.total, "what": progress.what}
            shown.update(task, total=progress.work_total, completed=progress.work_done, **text)

        yield report
