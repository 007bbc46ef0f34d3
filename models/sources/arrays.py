"""Arrays in memory: a dict of them (NumPy, JAX or torch)."""

import functools
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Tensor
from eigensweep.models.sources import Source, tensors_sha256
from eigensweep.models.sources.files import tensor_name


def torch_to_numpy(tensor: Any) -> np.ndarray:
    """A torch tensor as an array of the same dtype, sharing its memory where torch allows."""
    import torch

    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "bfloat16" or name.startswith("float8"):
        # torch's own bridge to NumPy knows neither: pass the bits.
        bits = torch.int16 if name == "bfloat16" else torch.uint8
        return tensor.view(bits).numpy().view(np.dtype(getattr(ml_dtypes, name)))
    return tensor.numpy()


def named_tensors(
    arrays: Mapping[str, np.ndarray], file: str = "", *, mapped: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Arrays as tensors, and second names of one and the same memory: {later name: first name}.

    Arrays that are `mapped` from a file are copied when they are read: the file may change afterwards.
    """

    def rows(array: np.ndarray, start: int, stop: int) -> np.ndarray:
        chosen = array[start:stop] if array.ndim else array
        return chosen.copy() if mapped else chosen

    first: dict[tuple, str] = {}
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for raw, array in arrays.items():
        name = tensor_name(file or "dict of arrays", raw)
        if name in tensors or name in aliases:
            raise CheckpointError(f"{file or 'dict of arrays'}: two tensors have the name {name!r}")
        where = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.name)
        kept = first.setdefault(where, name)
        if kept != name and array.size:
            aliases[name] = kept
        else:
            reader = functools.partial(rows, array)
            tensors[name] = Tensor(name, array.shape, array.dtype.name, file, reader)
    return tensors, aliases


def open_arrays(arrays: Mapping[str, Any], config: dict[str, Any] | None = None) -> Source:
    """A dict from names to arrays as a source.

    Args:
      arrays: NumPy, JAX or torch arrays, by the names that a checkpoint would give them.
      config: what config.json would hold; without it the reading is generic.

    Raises:
      TypeError: a key is no string or a value no array of numbers.
    """
    held: dict[str, np.ndarray] = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"names of tensors are strings, got {name!r}")
        array = torch_to_numpy(value) if hasattr(value, "detach") else np.asarray(value)
        if isinstance(value, Mapping) or array.dtype.kind in "OSU":
            raise TypeError(f"{name!r}: an array of numbers was expected, got {type(value).__name__}")
        held[name] = array
    tensors, aliases = named_tensors(held)
    warnings = () if config else ("a dict of arrays without config: the architecture is unknown",)
    sha256 = functools.partial(tensors_sha256, tensors)
    return Source("dict of arrays", "dict", tensors, config, {}, sha256, aliases, warnings)
