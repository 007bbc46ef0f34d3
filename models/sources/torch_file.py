"""pytorch_model.bin: a pickle, hence only through torch's restricted unpickler, and only where torch is installed."""

import importlib.util
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.arrays import torch_rows
from eigensweep.models.tensors import Tensor

TORCH_WEIGHTS, TORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
ADAPTER_TORCH_WEIGHTS = "adapter_model.bin"
# What a restricted unpickler meets when it interprets bytes that are no pickle.
_BROKEN = (
    pickle.UnpicklingError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


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
        raise CheckpointError(
            f"{path}: not a file of tensors that torch reads with weights_only=True: {reason}"
        ) from e
    if not isinstance(held, dict):
        raise CheckpointError(f"{path}: a dict of tensors was expected, got {type(held).__name__}")
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple, str] = {}
    for name, tensor in held.items():
        if (
            not isinstance(tensor, torch.Tensor)
            or not isinstance(name, str)
            or tensor.layout != torch.strided
        ):
            raise CheckpointError(
                f"{path}: {name!r}: a dense tensor was expected, got {type(tensor).__name__}"
            )
        kept = first.setdefault((tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype), name)
        if kept != name and tensor.numel():
            aliases[name] = kept
            continue
        dtype = str(tensor.dtype).removeprefix("torch.")
        if tensor.is_quantized:
            raise CheckpointError(f"{path}: {name!r} is quantized ({dtype}): dequantize it first")
        tensors[name] = Tensor(name, tuple(tensor.shape), dtype, file, torch_rows(tensor))
    return tensors, aliases
