"""Arrays in memory: a dict of them (NumPy, JAX or torch), and torch's own files.

pytorch_model.bin is a pickle, hence read only through torch's restricted unpickler, and only where torch is installed.
"""

import functools
import importlib.util
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Tensor
from eigensweep.models.sources import Source, tensors_sha256

# What a restricted unpickler meets when it interprets bytes that are no pickle.
_BROKEN = (
    pickle.UnpicklingError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError,
    ValueError, struct.error,
)  # fmt: skip


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
    for name, array in arrays.items():
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


def open_torch(path: Path, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a torch file, mapped and not read, and second names of tensors that share their memory.

    Raises:
      CheckpointError: torch is not installed, the file is broken, or holds more than tensors.
    """
    if importlib.util.find_spec("torch") is None:
        raise CheckpointError(
            f"{path}: a pickled torch file is read only where torch is installed (pip install torch). Or convert it "
            f'once where it is: python -c "from transformers import AutoModel; '
            f"AutoModel.from_pretrained('FOLDER').save_pretrained('NEW_FOLDER')\" writes model.safetensors"
        )
    import torch

    try:
        mapped = zipfile.is_zipfile(path)  # torch maps its newer format only
        held: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except _BROKEN as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise CheckpointError(f"{path}: not a file of tensors that torch reads with weights_only=True: {reason}") from e
    if not isinstance(held, dict):
        raise CheckpointError(f"{path}: a dict of tensors was expected, got {type(held).__name__}")
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in held.items():
        is_dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
        if not is_dense or not isinstance(name, str):
            raise CheckpointError(f"{path}: {name!r}: a dense tensor was expected, got {type(tensor).__name__}")
        if tensor.is_quantized:
            raise CheckpointError(f"{path}: {name!r} is quantized ({tensor.dtype}): dequantize it first")
        try:
            arrays[name] = torch_to_numpy(tensor)
        except (AttributeError, RuntimeError, TypeError) as e:
            raise CheckpointError(f"{path}: {name!r}: NumPy has no {tensor.dtype}") from e
    return named_tensors(arrays, file, mapped=mapped)
