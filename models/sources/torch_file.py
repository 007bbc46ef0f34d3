"""torch's own files: pytorch_model.bin is a pickle, hence read only through torch's restricted unpickler.

Only where torch is installed, in a version whose restricted unpickler has no known hole (CVE-2025-32434 was mended in
2.6, CVE-2026-24747 in 2.10). Nothing that torch says about reading the file in another way is passed on.
"""

import importlib.util
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.models.errors import CheckpointError, printable, shown
from eigensweep.models.matrix import Tensor
from eigensweep.models.sources.arrays import named_tensors, torch_to_numpy
from eigensweep.models.sources.files import is_there

OLDEST_TORCH = (2, 10)
_MOST_SHARED = 10  # tensors may share memory, views of a flat vector say; not as often as they like
# What a restricted unpickler meets when it interprets bytes that are no pickle.
_BROKEN = (
    pickle.UnpicklingError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, OverflowError,
    RuntimeError, TypeError, ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
_FORBIDDEN = re.compile(r"(?:GLOBAL|global|class|type|function) [`'\"]?([\w.]+)")


def _check_torch(path: Path) -> None:
    """Refuses to go on without a torch that reads pickles safely."""
    if importlib.util.find_spec("torch") is None:
        raise CheckpointError(
            f"{path}: a pickled torch file is read only where torch is installed (pip install torch). Or convert it "
            f'once where it is: python -c "from transformers import AutoModel; '
            f"AutoModel.from_pretrained('FOLDER').save_pretrained('NEW_FOLDER')\" writes model.safetensors"
        )
    import torch

    version = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_TORCH:
        raise CheckpointError(
            f"{path}: a pickled torch file is read only with torch {'.'.join(map(str, OLDEST_TORCH))} or newer, in "
            f"which no file can execute anything; installed is {torch.__version__}"
        )


def _check_zip(path: Path) -> bool:
    """Whether torch's newer format is at hand, a zip file of uncompressed records that torch maps.

    Raises:
      CheckpointError: a zip file that torch has not written: compressed or overlapping records may unpack to any
        size.
    """
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise CheckpointError(f"{path}: a broken zip file: {shown(str(e))}") from e
    stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
    if not stored or sum(record.file_size for record in records) > path.stat().st_size:
        raise CheckpointError(f"{path}: a zip file whose records are compressed or overlap, which torch does not write")
    return True


def _reason(error: Exception) -> str:
    """Why torch refused, without the ways around that it recommends."""
    if match := _FORBIDDEN.search(str(error)):
        return f"it asks for {printable(match[1])[:200]}, which is no tensor; nothing of a checkpoint is executed"
    return f"the file is broken or holds something else ({type(error).__name__})"


def _array(path: Path, name: str, tensor: Any) -> np.ndarray:
    """A tensor of a file as an array.

    Raises:
      CheckpointError: no dense tensor of numbers that lie each at a place of its own.
    """
    import torch

    where = f"{path}: {name!r}"
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        kind = str(tensor.layout) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise CheckpointError(f"{where}: a dense tensor was expected, got {kind}")
    if tensor.is_quantized:
        raise CheckpointError(f"{where} is quantized ({tensor.dtype}): dequantize it first")
    if tensor.is_meta:
        raise CheckpointError(f"{where}: a tensor without data (device meta)")
    if tensor.is_neg() or tensor.is_conj():
        raise CheckpointError(f"{where}: stored negated or conjugated by a flag; save it after resolve_neg()")
    extent = 1  # entries that the axes so far span; an axis that steps less far reads some of them again
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and tensor.numel():
            if stride < extent:
                raise CheckpointError(f"{where}: its entries overlap (strides {list(tensor.stride())})")
            extent += (size - 1) * stride
    try:
        return torch_to_numpy(tensor)
    except (AttributeError, RuntimeError, TypeError) as e:
        raise CheckpointError(f"{where}: NumPy has no {tensor.dtype}") from e


def open_torch(path: Path, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a torch file, mapped and not read, and second names of tensors that share their memory.

    Raises:
      CheckpointError: torch is not installed or too old, the file is broken, or holds more than tensors.
    """
    if not is_there(path):
        raise CheckpointError(f"{path}: no such file")
    _check_torch(path)
    import torch

    mapped = _check_zip(path)  # torch maps its newer format only
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except _BROKEN as e:
        raise CheckpointError(f"{path}: not a file of tensors alone: {_reason(e)}") from e
    if not isinstance(held, dict):
        raise CheckpointError(f"{path}: a dict of tensors was expected, got {type(held).__name__}")
    for name in held:
        if not isinstance(name, str):
            raise CheckpointError(f"{path}: {shown(name)}: a tensor's name was expected")
    arrays = {name: _array(path, printable(name), tensor) for name, tensor in held.items()}
    named = named_tensors(arrays, file, mapped=mapped)
    if sum(tensor.nbytes for tensor in named[0].values()) > _MOST_SHARED * path.stat().st_size:
        raise CheckpointError(f"{path}: its tensors claim more than {_MOST_SHARED} times the bytes that the file has")
    return named
