"""A dict of arrays as a checkpoint: library use, from NumPy, JAX or torch."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from eigensweep.models.sources.identity import tensors_sha256
from eigensweep.models.sources.source import Source
from eigensweep.models.tensors import Tensor


def torch_to_numpy(tensor: Any) -> np.ndarray:
    """A torch tensor as an array of the same dtype, sharing its memory where torch allows."""
    import torch

    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "bfloat16" or name.startswith("float8"):
        # torch's own bridge to NumPy knows neither: pass the bits.
        bits = torch.int16 if name == "bfloat16" else torch.uint8
        return tensor.contiguous().view(bits).numpy().view(np.dtype(getattr(ml_dtypes, name)))
    return tensor.numpy()


def torch_rows(tensor: Any) -> Callable[[int, int], np.ndarray]:
    """A reader of rows, as `Tensor` wants it, of a torch tensor."""
    return lambda start, stop: torch_to_numpy(tensor[start:stop] if tensor.ndim else tensor)


def array_tensor(name: str, array: np.ndarray, file: str = "") -> Tensor:
    """An array in memory as a Tensor."""

    def rows(start: int, stop: int) -> np.ndarray:
        return array[start:stop] if array.ndim else array

    return Tensor(name, array.shape, array.dtype.name, file, rows)


def same_storage(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Second names of one and the same memory: {later name: first name}."""
    first: dict[tuple, str] = {}
    second: dict[str, str] = {}
    for name, array in arrays.items():
        where = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.name)
        kept = first.setdefault(where, name)
        if kept != name and array.size:
            second[name] = kept
    return second


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
    aliases = same_storage(held)
    tensors = {name: array_tensor(name, array) for name, array in held.items() if name not in aliases}
    return Source(
        "dict of arrays",
        "dict",
        tensors,
        config,
        {},
        functools.partial(tensors_sha256, tensors),
        aliases,
        () if config else ("a dict of arrays without config: the architecture is unknown",),
    )
