"""A .safetensors file: its header checked to the byte, its tensors read one range at a time.

Format (https://github.com/huggingface/safetensors#format): 8 bytes little-endian header length, a JSON header
{name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {str: str}}, then the data without holes.
The header is read here and not by `safe_open`, for three reasons: a message can name the file and the tensor that the
header lies about; FP8 tensors, which the library does not give to NumPy, arrive with their dtype; and `export` needs
the offsets, to put single tensors back in place. Reading costs one seek, whatever the number of tensors. The tests hold
the result against `safe_open`.
"""

import functools
import json
import math
from pathlib import Path
from typing import Any, TypeGuard

import ml_dtypes
import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Tensor

_MAX_HEADER = 100_000_000  # the format's own limit

_DTYPES: dict[str, type] = {
    "BOOL": np.bool_, "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F32": np.float32, "F64": np.float64, "C64": np.complex64,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}  # fmt: skip
DTYPES = {code: np.dtype(scalar) for code, scalar in _DTYPES.items()}
"""NumPy's dtype for each of the format's codes of whole bytes."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"names {twice!r} twice")
    return entries


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The JSON header, where the data begins and how many bytes of it there are."""
    try:
        with path.open("rb") as f:
            file_size = f.seek(0, 2)
            f.seek(0)
            length = int.from_bytes(f.read(8), "little")
            if file_size < 8 or length > file_size - 8:
                raise CheckpointError(
                    f"{path}: truncated or not a safetensors file: it has {file_size} bytes, its header alone "
                    f"should have {length}"
                )
            if length > _MAX_HEADER:
                raise CheckpointError(f"{path}: header of {length} bytes, the format allows {_MAX_HEADER}")
            text = f.read(length)
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read: {e.strerror}") from e
    try:
        header = json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"{path}: not a safetensors file: its header is no JSON: {e}") from e
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: not a safetensors file: its header is no JSON object")
    return header, 8 + length, file_size - 8 - length


def _entry(path: Path, name: str, entry: Any) -> tuple[tuple[int, ...], np.dtype, int, int]:
    """Shape, dtype, begin and end of one tensor, each checked."""

    def whole_numbers(x: Any) -> TypeGuard[list[int]]:
        return isinstance(x, list) and all(type(i) is int and i >= 0 for i in x)

    if not isinstance(entry, dict):
        raise CheckpointError(f"{path}: tensor {name!r}: the header's entry is no object")
    shape, offsets, code = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not isinstance(code, str) or code not in DTYPES:
        raise CheckpointError(f"{path}: tensor {name!r}: unknown dtype {code!r}")
    if not whole_numbers(shape):
        raise CheckpointError(f"{path}: tensor {name!r}: shape {shape!r} is no list of sizes")
    if not whole_numbers(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{path}: tensor {name!r}: data_offsets {offsets!r} are no [begin, end]")
    begin, end = offsets
    needed = math.prod(shape) * DTYPES[code].itemsize
    if end - begin != needed:
        raise CheckpointError(
            f"{path}: tensor {name!r}: {code} of shape {shape} takes {needed} bytes, the header gives {end - begin}"
        )
    return tuple(shape), DTYPES[code], begin, end


def _read_rows(
    path: Path, name: str, dtype: np.dtype, shape: tuple[int, ...], offset: int, start: int, stop: int
) -> np.ndarray:
    row = math.prod(shape[1:]) * dtype.itemsize
    count = (stop - start) * row
    try:
        raw = np.fromfile(path, dtype=np.uint8, count=count, offset=offset + start * row)
    except OSError as e:
        raise CheckpointError(f"{path}: tensor {name!r} cannot be read: {e.strerror}") from e
    if raw.size != count:
        raise CheckpointError(
            f"{path}: tensor {name!r}: {raw.size} bytes of {count} are there: truncated since opening"
        )
    return raw.view(dtype).reshape((stop - start, *shape[1:]) if shape else ())


def data_starts(path: Path) -> dict[str, int]:
    """Where in a file each tensor's bytes begin."""
    header, data, _ = _read_header(path)
    header.pop("__metadata__", None)
    return {name: data + _entry(path, name, entry)[2] for name, entry in header.items()}


def open_safetensors(path: Path, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, none read yet, and second names of them.

    safetensors' `save_model` drops a tensor that shares another's memory and notes {its name: the name it kept} in
    the metadata.

    Args:
      path: the file.
      file: its name inside the checkpoint, for `Tensor.file`.

    Raises:
      CheckpointError: truncated, or a header that does not describe this file exactly.
    """
    header, data, size = _read_header(path)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: __metadata__ is no JSON object")
    entries = {name: _entry(path, name, entry) for name, entry in header.items()}
    expected = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if end > size:
            raise CheckpointError(
                f"{path}: tensor {name!r} ends at byte {end} of the data, the file has {size}: truncated, "
                f"or the header lies"
            )
        if begin != expected:
            what = "overlaps the tensor before it" if begin < expected else "leaves a hole before it"
            raise CheckpointError(f"{path}: tensor {name!r} begins at byte {begin} of the data and {what}")
        expected = end
    if expected != size:
        raise CheckpointError(f"{path}: {size - expected} bytes at the end belong to no tensor")
    tensors = {}
    for name, (shape, dtype, begin, _) in entries.items():
        reader = functools.partial(_read_rows, path, name, dtype, shape, data + begin)
        tensors[name] = Tensor(name, shape, dtype.name, file, reader)
    aliases = {
        name: kept
        for name, kept in metadata.items()
        if isinstance(kept, str) and kept in tensors and name not in tensors
    }
    return tensors, aliases
