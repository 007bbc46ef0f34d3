"""Out of memory on the device, said with the batch size that would fit."""

from collections.abc import Callable
from typing import TypeVar

import jax

from eigensweep.models.errors import InputError

Result = TypeVar("Result")


class DeviceMemoryError(InputError, RuntimeError):
    """A batch does not fit on the device; the message says which one would."""


def with_memory_advice(
    run: Callable[[int], Result],
    batch_size: int,
    probe: Callable[[int], object] | None = None,
    multiple: int = 1,
) -> Result:
    """run(batch_size), with XLA's RESOURCE_EXHAUSTED turned into advice.

    Args:
      run: the whole computation at a batch size.
      batch_size: what to run.
      probe: one batch at a batch size, tried at half the size, a quarter, … until it fits; None: `run` itself.
      multiple: batch sizes must be multiples of it.

    Returns:
      What `run` returns.

    Raises:
      DeviceMemoryError: with the batch size that fits, or saying that not even the smallest does.
    """
    try:
        return run(batch_size)
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        fits = _largest_that_fits(probe or run, batch_size, multiple)
        where = f"out of memory on {jax.devices()[0].device_kind}: a batch of {batch_size} does not fit"
        if fits is None:
            raise DeviceMemoryError(
                f"{where}, nor does the smallest: use shorter rows, bfloat16, or run block by block"
            ) from error
        raise DeviceMemoryError(f"{where}, a batch of {fits} does: set batch_size to {fits}") from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether XLA ran out of device memory."""
    return "RESOURCE_EXHAUSTED" in str(error)


def _largest_that_fits(probe: Callable[[int], object], batch_size: int, multiple: int) -> int | None:
    size = batch_size // 2 // multiple * multiple
    while size >= multiple:
        try:
            jax.block_until_ready(probe(size))
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            size = size // 2 // multiple * multiple
        else:
            return size
    return None
