"""A .safetensors file: its header checked to the byte, its tensors read one range at a time.

Format (https://github.com/huggingface/safetensors#format): 8 bytes little-endian header length, a JSON header
{name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {str: str}}, then the data without holes.
The header is read here and not by `safe_open`, for three reasons: a message can name the file and the tensor that the
header lies about; FP8 tensors, which the library does not give to NumPy, arrive with their dtype; and `export` needs
the offsets, to put single tensors back in place. Reading costs one seek, whatever the number of tensors. The tests hold
the result against `safe_open`.
"""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import ml_dtypes
import numpy as np

from eigensweep.models.errors import CheckpointError, printable, shown
from eigensweep.models.matrix import PACKED, Tensor
from eigensweep.models.sources.files import MOST_JSON_BYTES, open_regular, parse_json, tensor_name

_DTYPES: dict[str, type] = {
    "BOOL": np.bool_, "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F32": np.float32, "F64": np.float64, "C64": np.complex64,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}  # fmt: skip
DTYPES = {code: np.dtype(scalar) for code, scalar in _DTYPES.items()}
"""NumPy's dtype for each of the format's codes of whole bytes."""


_PACKED = {"F4": (4, "float4_e2m1fn"), "F6_E2M3": (6, "float6_e2m3fn"), "F6_E3M2": (6, "float6_e3m2fn")}
"""Bits and NumPy's name of the codes of parts of a byte. Such tensors can be named, not read."""
_CODES = _PACKED | {code: (8 * dtype.itemsize, dtype.name) for code, dtype in DTYPES.items()}
_MOST_AXES = 64  # NumPy's own limit
_MOST_BYTES = 2**63 - 1


class _Entry(NamedTuple):
    """What the header says of a tensor; its bytes are begin:end of the data."""

    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The JSON header, where the data begins and how many bytes of it there are."""
    try:
        with open_regular(path) as f:
            file_size = f.seek(0, 2)
            f.seek(0)
            length = int.from_bytes(f.read(8), "little")
            if file_size < 8 or length > file_size - 8:
                raise CheckpointError(
                    f"{path}: truncated or not a safetensors file: it has {file_size} bytes, its header alone "
                    f"should have {length}"
                )
            if length > MOST_JSON_BYTES:
                raise CheckpointError(f"{path}: header of {length} bytes, the format allows {MOST_JSON_BYTES}")
            text = f.read(length)
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read: {e.strerror}") from e
    try:
        header = parse_json(text)
    except ValueError as e:
        raise CheckpointError(f"{path}: not a safetensors file: its header is no JSON: {printable(str(e))}") from e
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: not a safetensors file: its header is no JSON object")
    return header, 8 + length, file_size - 8 - length


def _entry(path: Path, name: str, entry: Any) -> _Entry:
    """One tensor's entry, checked."""

    def whole_numbers(x: Any) -> TypeGuard[list[int]]:
        return isinstance(x, list) and all(type(i) is int and i >= 0 for i in x)

    where = f"{path}: tensor {name!r}"
    if not isinstance(entry, dict):
        raise CheckpointError(f"{where}: the header's entry is no object")
    shape, offsets, code = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not isinstance(code, str) or code not in _CODES:
        raise CheckpointError(f"{where}: unknown dtype {shown(code)}")
    if not whole_numbers(shape):
        raise CheckpointError(f"{where}: shape {shown(shape)} is no list of sizes")
    if not whole_numbers(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{where}: data_offsets {shown(offsets)} are no [begin, end]")
    bits, dtype = _CODES[code]
    # Sizes that an axis of size zero hides are multiplied, too: no array can have them.
    if len(shape) > _MOST_AXES or math.prod(size or 1 for size in shape) * bits // 8 > _MOST_BYTES:
        raise CheckpointError(f"{where}: no array has the shape {shown(shape)}")
    (begin, end), needed = offsets, math.prod(shape) * bits
    if needed % 8 or end - begin != needed // 8:
        raise CheckpointError(
            f"{where}: {code} of shape {shown(shape)} takes {needed / 8:.15g} bytes, the header gives "
            f"{shown(end - begin)}"
        )
    return _Entry(tuple(shape), dtype, begin, end)


def _entries(path: Path) -> tuple[dict[str, _Entry], dict[str, Any], int, int]:
    """The entries by the tensors' names, the metadata, where the data begins and how many bytes of it there are."""
    header, data, size = _read_header(path)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: __metadata__ is no JSON object")
    entries: dict[str, _Entry] = {}
    for raw, entry in header.items():
        name = tensor_name(path, raw)
        if name in entries:
            raise CheckpointError(f"{path}: two tensors have the name {name!r}")
        entries[name] = _entry(path, name, entry)
    return entries, metadata, data, size


def _read_rows(
    path: Path, name: str, dtype: np.dtype, shape: tuple[int, ...], offset: int, start: int, stop: int
) -> np.ndarray:
    row = math.prod(shape[1:]) * dtype.itemsize
    count = (stop - start) * row
    try:
        with open_regular(path) as f:
            raw = np.fromfile(f, dtype=np.uint8, count=count, offset=offset + start * row)
    except OSError as e:
        raise CheckpointError(f"{path}: tensor {name!r} cannot be read: {e.strerror}") from e
    except MemoryError as e:
        raise CheckpointError(f"{path}: tensor {name!r}: no memory for {count} bytes") from e
    if raw.size != count:
        raise CheckpointError(
            f"{path}: tensor {name!r}: {raw.size} bytes of {count} are there: truncated since opening"
        )
    return raw.view(dtype).reshape((stop - start, *shape[1:]) if shape else ())


def _refuse(path: Path, name: str, dtype: str, start: int, stop: int) -> np.ndarray:
    raise CheckpointError(f"{path}: tensor {name!r}: {dtype} is packed, several numbers to a byte, and not read")


def data_starts(path: Path) -> dict[str, int]:
    """Where in a file each tensor's bytes begin."""
    entries, _, data, _ = _entries(path)
    return {name: data + entry.begin for name, entry in entries.items()}


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
    entries, metadata, data, size = _entries(path)
    expected = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if end > size:
            raise CheckpointError(
                f"{path}: tensor {name!r} ends at byte {shown(end)} of the data, the file has {size}: truncated, "
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
        reader: Callable[[int, int], np.ndarray] = functools.partial(_refuse, path, name, dtype)
        if dtype not in PACKED:
            reader = functools.partial(_read_rows, path, name, np.dtype(dtype), shape, data + begin)
        tensors[name] = Tensor(name, shape, dtype, file, reader)
    seconds = ((tensor_name(path, name), kept) for name, kept in metadata.items() if isinstance(kept, str))
    aliases = {name: printable(kept) for name, kept in seconds if printable(kept) in tensors and name not in tensors}
    return tensors, aliases
