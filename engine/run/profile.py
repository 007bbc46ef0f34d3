"""A trace of what the devices do while something runs, and what it comes to: busy, idle, and with which operations.

`jax.profiler` writes the trace, for TensorBoard or Perfetto and as JSON, which is read here.
"""

import gzip
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax

MOST_EVENTS = 1_000_000  # what the profiler writes into the JSON file; it leaves out the rest
TOP = 12
_MICRO = 1e-6
_COPIES = ("Memcpy", "Memset")


class Operation(NamedTuple):
    """All runs of one operation: its name, their seconds together, their number."""

    name: str
    seconds: float
    runs: int


class Profile(NamedTuple):
    """What a trace comes to.

    Attributes:
      seconds: that the work took, by the clock.
      busy: seconds in which at least one operation ran, a mean over the devices.
      copying: of them those in which nothing but copies between host and device did.
      operations: by seconds, most first.
      cut: whether the trace was too long to be written whole; then all of this is too little.
    """

    seconds: float
    busy: float
    copying: float
    operations: tuple[Operation, ...]
    cut: bool

    @property
    def idle(self) -> float:
        """Share of the time in which no operation ran."""
        return max(0.0, 1 - self.busy / self.seconds) if self.seconds else 0.0

    def __str__(self) -> str:
        if not self.operations:  # on a CPU a sweep is NumPy's, and idle would be the wrong word
            return f"{self.seconds:.2f} s, in which XLA ran nothing"
        said = f"{self.seconds:.2f} s, of which the device was idle {100 * self.idle:.0f} %"
        said += f" and copied {self.copying:.2f} s" if self.copying else ""
        said += "; the trace was too long to be kept whole" if self.cut else ""
        rows = [f"  {o.seconds:9.3f} s  {o.runs:8d} x  {o.name}" for o in self.operations[:TOP]]
        return "\n".join([said, *rows])


@contextmanager
def profiled(folder: str | Path) -> Iterator[list[Profile]]:
    """Trace what runs inside; the trace lies in `folder` and the profile in the list afterwards."""
    options = getattr(jax.profiler, "ProfileOptions", None)
    arguments: dict[str, Any] = {}
    if options is not None:  # Python's own calls would be most of the events
        arguments["profiler_options"] = options()
        arguments["profiler_options"].python_tracer_level = 0
    found: list[Profile] = []
    with jax.profiler.trace(str(folder), **arguments):
        start = time.perf_counter()
        yield found
        spent = time.perf_counter() - start
    found.append(read(folder, spent))


def read(folder: str | Path, seconds: float) -> Profile:
    """The profile of the newest trace in a folder, of work that took so many seconds.

    Raises:
      FileNotFoundError: there is none.
    """
    traces = sorted(Path(folder).glob("plugins/profile/*/*.trace.json.gz"))
    if not traces:
        raise FileNotFoundError(f"{folder}: no trace of jax.profiler")
    newest = [path for path in traces if path.parent == traces[-1].parent]
    events = []
    for path in newest:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            events.append(json.load(file)["traceEvents"])
    intervals: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    computing: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    totals: dict[str, list[float]] = defaultdict(list)
    for number, of_file in enumerate(events):
        for device, name, begin, length in _operations(of_file):
            intervals[number, device].append((begin, begin + length))
            if not name.startswith(_COPIES):
                computing[number, device].append((begin, begin + length))
            totals[name].append(length)
    busy, work = (sum(map(covered, x.values())) / max(len(intervals), 1) * _MICRO for x in (intervals, computing))
    operations = [Operation(name, sum(parts) * _MICRO, len(parts)) for name, parts in totals.items()]
    cut = any(len(of_file) >= MOST_EVENTS for of_file in events)
    return Profile(seconds, busy, busy - work, tuple(sorted(operations, key=lambda o: -o.seconds)), cut)


def covered(intervals: list[tuple[float, float]]) -> float:
    """Length of a union of intervals."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def _operations(events: list[dict[str, Any]]) -> Iterator[tuple[Any, str, float, float]]:
    """(device, name, begin, length) of what ran: the streams of a GPU, the operations of a TPU, XLA's on a CPU."""
    names = {(e.get("pid"), e.get("tid")): e["args"]["name"] for e in events if e.get("name") == "thread_name"}
    devices = {e["pid"] for e in events if e.get("name") == "process_name" and e["args"]["name"].startswith("/device:")}
    lines = {key for key, name in names.items() if key[0] in devices and name.startswith("Stream")}
    lines = lines or {key for key, name in names.items() if key[0] in devices and name == "XLA Ops"}
    for e in events:
        if e.get("ph") != "X":
            continue
        operation = e.get("args", {}).get("hlo_op")
        if (e["pid"], e["tid"]) in lines if lines else operation:
            yield e["pid"], operation or e["name"], float(e["ts"]), float(e.get("dur", 0))
