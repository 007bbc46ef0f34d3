"""What a study's `on_progress` is told."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Progress:
    """How far a study is.

    Attributes:
      done, total: units of work finished (earlier starts included) and to do.
      work_done, work_total: the same, weighted by what they cost: the time left follows from it.
      what: the unit at work, or a step inside it; "" where there is none to name.
      phase: what is being done: "reading", "compiling and decomposing", "decomposing", "writing the page", ...
    """

    done: int
    total: int
    work_done: float
    work_total: float
    what: str = ""
    phase: str = ""


OnProgress = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Tells nobody."""
