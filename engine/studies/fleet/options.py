"""Options of what sweeps many checkpoints: those of a sweep, under other commands."""

from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.studies.sweep.options import SweepOptions


@dataclass(frozen=True)
class FleetOptions(SweepOptions):
    """Options of the sweeps of a fleet."""

    COMMAND: ClassVar[str] = "fleet"


@dataclass(frozen=True)
class SeriesOptions(SweepOptions):
    """Options of the sweeps of a series."""

    COMMAND: ClassVar[str] = "series"
