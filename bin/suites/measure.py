"""Timing two programs side by side: interleaved repeats, medians, spread, and the ratio of the medians."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Comparison:
    """Seconds (or bytes) of ours and of a named peer for one case, from the same run.

    Attributes:
      suite, case, peer: what was measured against whom.
      ours, theirs: one figure a repeat; lower is better.
      unit: "s" or "MiB".
      target: the ratio theirs / ours that eigensweep sets itself; None where it sets none.
      note: what a reader must know to take the figure right.
    """

    suite: str
    case: str
    peer: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    unit: str = "s"
    target: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        """median(theirs) / median(ours): above 1, ours is the better."""
        return statistics.median(self.theirs) / statistics.median(self.ours)

    def to_json(self) -> dict[str, Any]:
        """All figures, with the medians and the ratio."""
        return self.__dict__ | {
            "ratio": self.ratio,
            "median_ours": statistics.median(self.ours),
            "median_theirs": statistics.median(self.theirs),
        }


def tell(case: Comparison) -> Comparison:
    """Print a case as soon as it is measured: a run that is cut short has said that much."""
    ours, theirs = statistics.median(case.ours), statistics.median(case.theirs)
    note = f"; {case.note}" if case.note else ""
    print(f"  {case.case}: {ours:.4g} {case.unit}, {case.peer} {theirs:.4g} ({case.ratio:.3g}x){note}", flush=True)
    return case


def spread(values: list[float]) -> float:
    """(max - min) / median: what the repeats differ by."""
    return (max(values) - min(values)) / statistics.median(values)


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Processor time of one call, all threads together: what other work on the machine hardly touches."""
    start = time.process_time()
    work()
    return time.process_time() - start


def last_line(code: str, *arguments: str, **process: Any) -> str:
    """Run code in a Python of its own; the last line that it prints, "" where it prints none."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, **process)
    return (done.stdout.splitlines() or [""])[-1]


def compare(
    comparison: Comparison,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    repeats: int,
    warm_up: bool = True,
    clock: Callable[[Callable[[], Any]], float] = seconds,
) -> Comparison:
    """Warm both up once, then time them in turn `repeats` times, so that drift of the machine hits both alike."""
    if warm_up:
        ours(), theirs()
    for _ in range(repeats):
        comparison.ours.append(clock(ours))
        comparison.theirs.append(clock(theirs))
    return comparison
