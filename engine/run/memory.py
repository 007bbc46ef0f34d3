"""How much memory the arrays of one batch may take."""

import os

import jax

GIB = 1 << 30
CPU_BUDGET = (
    1 * GIB
)  # batches beyond this are no faster on CPU, and 4096 x 14336 in float64 alone takes 0.44 GiB


def default_budget() -> int:
    """Bytes for one batch: half of what is free on the device; on CPU 1 GiB, or a quarter of the machine's memory."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return (stats["bytes_limit"] - stats.get("bytes_in_use", 0)) // 2
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(CPU_BUDGET, physical // 4)
