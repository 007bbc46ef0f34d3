"""Where parameters and batches lie on a mesh of devices: rows over the axis "data", kernels over the axis "model".

Tensor parallelism after Megatron-LM (Shoeybi et al. 2019): the maps into heads and MLP are cut by outputs, those back
to the residual stream by inputs, so that a block needs two sums over the devices; tables are cut by the vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from eigensweep.models.nn.parameters import Params, map_with_path

_BY_OUTPUT = ("query", "key", "value", "gate", "up", "unembedding", "decoder")
_BY_INPUT = ("output", "down")


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
        raise ValueError(
            f"batch_size: expected a multiple of the mesh's {num} devices along 'data', got {max(rows)}"
        )
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
