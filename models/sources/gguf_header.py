"""The header of a GGUF file, checked to the byte.

Format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), all little-endian: "GGUF", the version, the numbers
of tensors and of metadata; metadata as (name, type, value); of every tensor its name, its sizes (the fastest first, so
that NumPy's shape is the reverse), its type and where its data begins; padding; the data.
It is read here and not by the package `gguf`, whose reader trusts it: a file of a hundred bytes can keep that busy for
ever.
"""

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from eigensweep.models.errors import CheckpointError, printable, shown
from eigensweep.models.sources.files import tensor_name

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_KEPT = 1 << 16  # bytes of a string that is kept
_MOST_DIMS = 4
_MOST_ENTRIES = 1 << 60


@dataclass
class Header:
    """The header of a file in the reading; every step says what is wrong with it."""

    path: Path
    file: BinaryIO
    size: int
    metadata: dict[str, Any] = field(default_factory=dict)

    def fail(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: no usable GGUF file: {printable(what)}")

    def take(self, count: int) -> bytes:
        raw = self.file.read(count) if count <= self.size - self.file.tell() else b""
        if len(raw) != count:
            raise self.fail(f"truncated: {count} bytes at byte {self.file.tell()} are not there")
        return raw

    def skip(self, count: int) -> None:
        if count > self.size - self.file.tell():
            raise self.fail(f"truncated: {count} bytes at byte {self.file.tell()} are not there")
        self.file.seek(count, 1)

    def number(self, kind: str) -> Any:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]

    def text(self, most: int = _MOST_KEPT) -> str:
        length = self.number("Q")
        if length > most:
            raise self.fail(f"a name of {length} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as e:
            raise self.fail(f"a name that is no UTF-8: {e}") from e

    def value(self, kind: int, depth: int = 0) -> Any:
        """A value of the metadata; None for arrays and long strings, which are passed over."""
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == _STRING:
            length = self.number("Q")
            if length > _MOST_KEPT:
                return self.skip(length)
            return printable(self.take(length).decode(errors="replace"))
        if kind != _ARRAY or depth > 1:
            raise self.fail(f"metadata of the unknown type {kind}")
        inner, count = self.number("I"), self.number("Q")
        if inner in _NUMBERS:
            return self.skip(count * struct.calcsize(f"<{_NUMBERS[inner]}"))
        if count > self.size - self.file.tell():
            raise self.fail(f"an array of {count} entries")
        for _ in range(count):
            self.value(inner, depth + 1)
        return None

    def read(self) -> list[tuple[str, tuple[int, ...], int, int]]:
        """Fills the metadata; name, shape, type and offset of every tensor."""
        if self.take(4) != b"GGUF":
            raise self.fail("it does not begin with GGUF")
        version = self.number("I")
        if version not in (2, 3):
            raise self.fail(f"version {version}; 2 and 3, little-endian, are read")
        tensors, entries = self.number("Q"), self.number("Q")
        if (tensors + entries) * 12 > self.size:
            raise self.fail(f"{tensors} tensors and {entries} metadata cannot be in {self.size} bytes")
        for _ in range(entries):
            name = self.text()
            value = self.value(self.number("I"))
            if name in self.metadata:
                raise self.fail(f"names {shown(name)} twice")
            self.metadata[name] = value
        return [self.tensor() for _ in range(tensors)]

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dims = tensor_name(self.path, self.text()), self.number("I")
        if dims > _MOST_DIMS:
            raise self.fail(f"tensor {shown(name)} has {dims} axes")
        shape = tuple(self.number("Q") for _ in range(dims))[::-1]
        if math.prod(size or 1 for size in shape) > _MOST_ENTRIES:
            raise self.fail(f"tensor {shown(name)}: no array has the shape {list(shape)}")
        return name, shape, self.number("I"), self.number("Q")
