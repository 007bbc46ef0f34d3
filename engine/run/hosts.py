"""Several processes, one run directory: who does what, and when all have done it.

Processes are those of `jax.distributed`; each works on its own local devices and writes its own parts, so nothing but
barriers crosses the network. Without `jax.distributed` there is one process and nothing to wait for.
"""

from collections.abc import Sequence

import jax


def is_first() -> bool:
    """Whether this process claims the run directory and merges the parts."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Return when every process has come here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(where)


def my_share(costs: Sequence[float], index: int | None = None, count: int | None = None) -> list[int]:
    """Places of the matrices that this process does: dealt out by cost, the dearest first to the least loaded.

    Args:
      costs: one number a matrix; the same in every process.
      index, count: this process and how many there are; those of `jax.distributed` when None.
    """
    index = jax.process_index() if index is None else index
    count = jax.process_count() if count is None else count
    loads, mine = [0.0] * count, []
    for place in sorted(range(len(costs)), key=lambda i: -costs[i]):
        least = loads.index(min(loads))
        loads[least] += costs[place]
        if least == index:
            mine.append(place)
    return sorted(mine)
