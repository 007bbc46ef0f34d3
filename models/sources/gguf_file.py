"""A GGUF file, as llama.cpp reads: its tensors by ranges of rows, dequantised by the package `gguf`."""

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.families import gguf as naming
from eigensweep.models.matrix import Skipped, Tensor
from eigensweep.models.quantised.gguf_grid import rounding_of
from eigensweep.models.sources import Source, files_sha256
from eigensweep.models.sources.files import is_there, open_regular
from eigensweep.models.sources.gguf_header import Header
from eigensweep.models.sources.watch import Watch

_PLAIN: dict[int, np.dtype] = {
    code: np.dtype(scalar)
    for code, scalar in (
        (0, np.float32), (1, np.float16), (24, np.int8), (25, np.int16), (26, np.int32), (27, np.int64),
        (28, np.float64), (30, ml_dtypes.bfloat16),
    )
}  # fmt: skip
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


def _library(path: Path, name: str) -> ModuleType:
    try:
        import gguf
    except ImportError as e:
        raise CheckpointError(
            f"{path}: tensor {name!r} is quantised; reading it takes the package gguf: pip install 'eigensweep[gguf]'"
        ) from e
    return gguf


@functools.cache
def _readable(kind: int) -> bool:
    """Whether the package dequantises a type."""
    import gguf

    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    try:
        gguf.quants.dequantize(np.zeros((1, size), np.uint8), gguf.GGMLQuantizationType(kind))
    except NotImplementedError:
        return False
    return True


@dataclass(frozen=True)
class _Stored:
    """Where a tensor lies: rows of `row` bytes from `offset` on; `block` entries take `size` bytes of the type."""

    path: Path
    name: str
    shape: tuple[int, ...]
    kind: int
    said: str
    block: int
    size: int
    offset: int

    @property
    def row(self) -> int:
        return math.prod(self.shape[1:]) // self.block * self.size

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) // self.block * self.size

    def packed(self, start: int, stop: int) -> np.ndarray:
        """The bytes of some rows."""
        count = (stop - start) * self.row
        try:
            with open_regular(self.path) as file:
                raw = np.fromfile(file, np.uint8, count, offset=self.offset + start * self.row)
        except OSError as e:
            raise CheckpointError(f"{self.path}: tensor {self.name!r} cannot be read: {e.strerror}") from e
        if raw.size != count:
            raise CheckpointError(f"{self.path}: tensor {self.name!r}: truncated since opening")
        return raw

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Some rows, dequantised."""
        shape = (stop - start, *self.shape[1:]) if self.shape else ()
        if self.kind in _PLAIN:
            return self.packed(start, stop).view(_PLAIN[self.kind]).reshape(shape)
        return self.dequantise(self.packed(start, stop)).reshape(shape)

    def dequantise(self, packed: np.ndarray) -> np.ndarray:
        """float32 entries of whole blocks."""
        import gguf

        kind = gguf.GGMLQuantizationType(self.kind)
        with np.errstate(all="ignore"):  # scales may be infinite
            return np.asarray(gguf.quants.dequantize(packed.reshape(-1, self.size), kind), np.float32)


def _stored(header: Header, name: str, shape: tuple[int, ...], kind: int, offset: int) -> _Stored:
    """Where a tensor lies, its sizes checked."""
    if kind in _PLAIN:
        said, block, size = _PLAIN[kind].name, 1, _PLAIN[kind].itemsize
    else:
        library = _library(header.path, name)
        try:
            known = library.GGMLQuantizationType(kind)
            (block, size), said = library.GGML_QUANT_SIZES[known], known.name
        except (KeyError, ValueError) as e:
            raise header.fail(f"tensor {name!r} is of type {kind}, which this version of gguf does not know") from e
    if block > 1 and (not shape or shape[-1] % block):
        raise header.fail(f"tensor {name!r}: rows of {list(shape)[-1:]} entries in blocks of {block}")
    return _Stored(header.path, name, shape, kind, said, block, size, offset)


def _read_header(path: Path) -> tuple[dict[str, Any], list[_Stored]]:
    """The metadata that is kept, and where every tensor lies, without overlaps and within the file."""
    try:
        with open_regular(path) as file:
            header = Header(path, file, file.seek(0, 2))
            file.seek(0)
            entries = header.read()
            end = file.tell()
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read: {e.strerror}") from e
    alignment = header.metadata.get("general.alignment") or 32
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise header.fail(f"general.alignment is {alignment!r}")
    data = -(-end // alignment) * alignment
    tensors = [_stored(header, *entry[:3], data + entry[3]) for entry in entries]
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise header.fail("two tensors of one name")
    last = data
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset < last or tensor.offset + tensor.nbytes > header.size:
            raise header.fail(f"tensor {tensor.name!r} overlaps the one before it, or goes beyond the end")
        last = tensor.offset + tensor.nbytes
    return header.metadata, tensors


def _shards(path: Path, metadata: Mapping[str, Any]) -> list[Path]:
    """The files that a model is split into."""
    count = metadata.get("split.count")
    if type(count) is not int or count < 2:
        return [path]
    found = _SHARD.fullmatch(path.name)
    if not found or int(found[3]) != count:
        raise CheckpointError(f"{path}: one of {count} files, but not named -00001-of-{count:05}.gguf")
    shards = [path.with_name(f"{found[1]}-{i:05}-of-{count:05}.gguf") for i in range(1, count + 1)]
    if missing := [shard.name for shard in shards if not is_there(shard)]:
        raise CheckpointError(f"{path}: one of {count} files, of which {missing[0]} is not there")
    return shards


def open_gguf(path: Path, name: str) -> Source:
    """A GGUF file, or all files that a model is split into, as a source; tensors keep llama.cpp's names.

    Raises:
      CheckpointError: a broken file, or the package gguf is missing.
    """
    watch = Watch()
    metadata, stored = _read_header(watch.add(path))
    shards = _shards(path, metadata)
    for shard in shards:
        if shard != path:
            more, others = _read_header(watch.add(shard))
            metadata = more | metadata
            stored += others
    config, heads = naming.config_of(metadata, {tensor.name: tensor.shape for tensor in stored})
    tensors: dict[str, Tensor] = {}
    left_out: list[Skipped] = []
    for entry in sorted(stored, key=lambda entry: (entry.path, entry.offset)):
        if entry.name in tensors:
            raise CheckpointError(f"{entry.path}: tensor {entry.name!r} is in another file of the model, too")
        if entry.kind not in _PLAIN and not _readable(entry.kind):
            left_out.append(
                Skipped(entry.name, entry.shape, entry.said, f"{entry.said}: the package gguf does not dequantise it")
            )
            continue
        dtype = _PLAIN[entry.kind].name if entry.kind in _PLAIN else "float32"
        rounding = None if entry.kind in _PLAIN else rounding_of(entry.said, entry)
        tensor = Tensor(entry.name, entry.shape, dtype, entry.path.name, entry.rows, rounding)
        tensors[entry.name] = watch.tensor(_as_transformers(tensor, heads), entry.path)
    files = {shard.name: shard for shard in shards}
    sha256 = watch.hashed(functools.partial(files_sha256, files if len(files) > 1 else {"": path}))
    warnings = (naming.WARNING,) if config is None else ()
    sizes = {file: shard.stat().st_size for file, shard in files.items()}
    return Source(name, "gguf", tensors, None, sizes, sha256, warnings=warnings, left_out=tuple(left_out), sizes=config)


def _as_transformers(tensor: Tensor, heads: naming.Heads | None) -> Tensor:
    """Undoes what llama.cpp did to a tensor of a known architecture."""
    if heads is None:
        return tensor
    if (count := heads.reordered(tensor.name)) and tensor.shape and tensor.shape[0] % (2 * count) == 0:
        rounding = tensor.rounding
        if rounding is not None and rounding.blocks is not None:
            rounding = replace(rounding, blocks=_in_order(rounding.blocks, tensor.shape, count))
        reader = _in_order(tensor.reader, tensor.shape, count)
        return replace(tensor, reader=reader, rounding=rounding)
    if heads.raised(tensor.name) and tensor.dtype == "float32":
        read = tensor.reader
        return replace(tensor, reader=lambda start, stop: read(start, stop) - np.float32(1))
    if tensor.name.endswith("ffn_gate_inp_shexp.weight") and len(tensor.shape) == 1:
        read, shape = tensor.reader, tensor.shape
        return replace(tensor, shape=(1, *shape), reader=lambda start, stop: read(0, shape[0])[None][start:stop])
    return tensor


def _in_order(
    read: Callable[[int, int], np.ndarray], shape: tuple[int, ...], heads: int
) -> Callable[[int, int], np.ndarray]:
    """Rows of a query or key in the order of the original: llama.cpp puts the halves of each head in turns."""
    size = shape[0] // heads

    def rows(start: int, stop: int) -> np.ndarray:
        first, last = start // size, -(-stop // size)
        stored = read(first * size, last * size)
        halves = stored.reshape(last - first, size // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(stored.shape)
        return halves[start - first * size : stop - first * size]

    return rows
