"""How much memory the arrays of one batch may take, and which matrices must not be decomposed in one piece."""

import os

import jax

from eigensweep.engine.spectral.svd import streamed

GIB = 1 << 30
# batches beyond this are no faster on CPU, and 4096 x 14336 in float64 alone takes 0.44 GiB
CPU_BUDGET = 1 * GIB
# a larger matrix is streamed on CPU: Llama's blocks are not (4096 x 14336: 2.3 GiB), its embedding is (17 GiB)
CPU_RESIDENT = 4 * GIB


def default_budget() -> int:
    """Bytes for one batch, which is dealt out over all local devices: half of what is free on them together.

    On CPU 1 GiB, or a quarter of the machine's memory.
    """
    free = [
        stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        for device in jax.local_devices()
        if (stats := device.memory_stats()) and "bytes_limit" in stats
    ]
    if free:
        return min(free) * len(free) // 2  # each takes an equal share
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(CPU_BUDGET, physical // 4)


def is_streamed(shape: tuple[int, int]) -> bool:
    """Is an (m, n) matrix too large to hold its singular vectors on the device?

    By its shape and the size of the device alone, not by the budget: the same matrix always goes the same way.
    """
    stats = _device_memory()
    return resident_bytes(shape) > (stats["bytes_limit"] // 2 if stats else CPU_RESIDENT)


def working_bytes(shape: tuple[int, int]) -> int:
    """Peak bytes that one (m, n) matrix needs in a batch."""
    if not is_streamed(shape):
        return resident_bytes(shape)
    return 3 * streamed.GROUP_BYTES + 2 * streamed.SLAB_BYTES + 8 * 6 * min(shape) ** 2


def resident_bytes(shape: tuple[int, int]) -> int:
    """Float64 w, u, vt, their products and the Gram matrix; on accelerators XLA's own count of its buffers, at most."""
    a, b = max(shape), min(shape)
    return 8 * (7 * a * b + 9 * b * b) if _device_memory() else 8 * (4 * a * b + 4 * b * b)


def _device_memory() -> dict[str, int] | None:
    stats = jax.local_devices()[0].memory_stats()
    return stats if stats and "bytes_limit" in stats else None
