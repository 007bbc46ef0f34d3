"""How many processor cores this process may use."""

from __future__ import annotations

import os


def num_cores() -> int:
    """Cores in the process's affinity mask where the system has one (a container or taskset may allow few)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
