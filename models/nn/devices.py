"""Devices: where parameters and batches lie on a mesh of them, and what to say when their memory is full.

Rows go over the axis "data", kernels over the axis "model". Tensor parallelism is Megatron-LM's (Shoeybi et al. 2019):
the maps into heads and MLP are cut by outputs, those back to the residual stream by inputs, so that a block needs two
sums over the devices; tables are cut by the vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from eigensweep.models.errors import InputError
from eigensweep.models.nn.parameters import Params, map_with_path

Result = TypeVar("Result")
_BY_OUTPUT = ("query", "key", "value", "gate", "up", "unembedding", "decoder")
_BY_INPUT = ("output", "down")


class DeviceMemoryError(InputError, RuntimeError):
    """A batch does not fit on the device; the message says which one would."""


def with_memory_advice(
    run: Callable[[int], Result], batch_size: int, probe: Callable[[int], object] | None = None, multiple: int = 1
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


def make_mesh(data: int = 1, model: int = 1) -> Mesh:
    """A mesh of data x model devices with the axes "data" and "model".

    Raises:
      ValueError: there are not as many devices.
    """
    if data * model > jax.device_count():
        raise ValueError(f"mesh: {data} x {model} devices wanted, {jax.device_count()} there")
    devices = jax.devices()[: data * model]
    return jax.make_mesh((data, model), ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def shardings(params: Mapping[str, Any], mesh: Mesh) -> Params:
    """A NamedSharding for every leaf of a tree (of arrays or shapes).

    Kernels and tables are cut over the axis "model" where its size divides them; what it does not divide, norms, and
    everything on a mesh without that axis are whole on every device.
    """
    num = mesh.shape.get("model", 1)

    def place(path: str, leaf: Any) -> NamedSharding:
        axis = _cut_axis(path, len(leaf.shape))
        if num == 1 or axis is None or leaf.shape[axis] % num:
            return NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, PartitionSpec(*(None,) * axis, "model"))

    return map_with_path(place, params)


def shard_batch(arrays: Any, mesh: Mesh | None) -> Any:
    """A batch's arrays on the mesh, rows over the axis "data"; as they are without a mesh.

    Raises:
      ValueError: the rows cannot be dealt out evenly.
    """
    if mesh is None:
        return arrays
    num = mesh.shape["data"]
    rows = {np.shape(array)[0] for array in jax.tree.leaves(arrays)}
    if any(number % num for number in rows):
        raise ValueError(f"batch_size: expected a multiple of the mesh's {num} devices along 'data', got {max(rows)}")
    return jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("data")))


def _cut_axis(path: str, ndim: int) -> int | None:
    name, leaf = path.split("/")[-2:]
    if path == "embedding/embedding":
        return 0
    if name in _BY_OUTPUT:
        return ndim - 1
    if name in _BY_INPUT and leaf == "kernel" and "classifier" not in path:
        return 0
    return None
