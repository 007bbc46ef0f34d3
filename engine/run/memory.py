"""How much memory there is, and how much of it the arrays of one batch may take."""

import os

import jax

GIB = 1 << 30
# batches beyond this are no faster on CPU, and 4096 x 14336 in float64 alone takes 0.44 GiB
CPU_BUDGET = 1 * GIB


def whole_memory() -> int:
    """Bytes of one device that nothing takes yet; on CPU all that the machine has."""
    account = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in account:
        return account["bytes_limit"] - account.get("bytes_in_use", 0)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def default_budget() -> int:
    """Bytes for one batch, which is dealt out over all local devices: half of what is free on them together.

    Each device takes an equal share, so the fullest one sets it. On CPU 1 GiB, or a quarter of the machine's memory.
    """
    accounts = [device.memory_stats() for device in jax.local_devices()]
    free = [a["bytes_limit"] - a.get("bytes_in_use", 0) for a in accounts if a and "bytes_limit" in a]
    if free:
        return min(free) * len(free) // 2
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(CPU_BUDGET, physical // 4)


def resident_bytes() -> int:
    """What this process has in memory now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
