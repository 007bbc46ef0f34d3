"""Several processes, one run directory: who does what, and when all have done it.

Processes are those of `jax.distributed`; each works on its own local devices and writes its own parts, so little but
barriers crosses the network. Without `jax.distributed` there is one process and nothing to wait for.
"""

import itertools
from collections.abc import Sequence

import jax
import numpy as np

# of a barrier: the others may have days of work; that one has died is noticed within minutes
_PATIENCE_MS = 7 * 24 * 3600 * 1000
_PASSED = itertools.count()  # a barrier's name serves once


def is_first() -> bool:
    """Whether this process claims the run directory and merges the parts."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Return when every process has come here."""
    if jax.process_count() > 1:
        # the coordination service's barrier: a collective on CPU devices gives up on a straggler after 30 s
        from orbax.checkpoint import multihost

        multihost.get_barrier_sync_fn()(key=f"{where}-{next(_PASSED)}", timeout_ms=_PATIENCE_MS)


def from_first(values: np.ndarray) -> np.ndarray:
    """The first process's array in every process; shape and dtype must agree. Processes must be together, see above."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(values))


def error_of_first(message: str) -> str:
    """The first process's error message, "" for none, in every process (its first 2000 bytes)."""
    text = np.zeros(2000, np.uint8)
    encoded = np.frombuffer(message.encode()[: text.size], np.uint8)
    text[: encoded.size] = encoded
    return from_first(text).tobytes().rstrip(b"\0").decode(errors="ignore")


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
