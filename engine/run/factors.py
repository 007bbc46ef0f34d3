"""Decompositions kept on disk: a matrix is decomposed once, and whoever needs its vectors maps the file.

A folder holds two files a matrix: KEY.right has its singular values and right vectors, KEY.left the left ones, which
not everyone needs. KEY is a digest of the checkpoint's, the matrix's name and dtype, the strategy and the version. A
file is a line of JSON, filled up with blanks, and arrays whose order and shapes follow from the matrix. It is written
whole or not at all and held against its sum once a process. What is damaged is named, and the matrix decomposed anew.
Beyond the limit the files go that were longest unused.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.memory import GIB
from eigensweep.engine.run.stream import Decomposed, decomposed
from eigensweep.engine.spectral.svd.auto import choose
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import write_atomically

VERSION = 1  # of the files and of what a decomposition is: with another number all are computed anew
FOLDER = "factors"
BOTH = ("right", "left")
_ARRAYS = {"right": ("s", "ks_right", "ks_left", "vt"), "left": ("u_t",)}
_NAME = re.compile(r"[0-9a-f]{40}\.(right|left)|\.[0-9a-f]{40}\.(right|left)\..+")
_NUMBERS = ("sigma", "kurtosis", "residual", "orthogonality")
_DTYPES = ("float64", "float32")  # TPUs compute in float32
_LONGEST_LINE = 1 << 14
_ALIGNED = 64
_FORGOTTEN = 3600.0  # seconds after which a temporary file is nobody's
_CHUNK = 1 << 24


class FactorStore:
    """The decompositions of one checkpoint's matrices in a folder.

    Attributes:
      folder: where the files are; studies and checkpoints may share it, also at the same time.
      said: what was found damaged, a sentence each.
    """

    def __init__(self, folder: str | Path, checkpoint: Mapping[str, Any], strategy: str = "auto", gib: float = 64.0):
        """
        Args:
          checkpoint: its identity, with its "sha256".
          strategy: how matrices are decomposed (engine.spectral.svd).
          gib: of all files together; what is in use stays even beyond it.
        """
        self.folder, self.said = Path(folder), list[str]()
        self._digest, self._strategy, self._limit = str(checkpoint["sha256"]), strategy, int(gib * GIB)
        self._summed: dict[Path, tuple[int, int]] = {}  # files whose sums are right
        self._in_use: set[Path] = set()

    def decomposed(
        self, sources: Sequence[MatrixSource], sides: Sequence[str] = BOTH
    ) -> Iterator[tuple[MatrixSource, Decomposed]]:
        """As `run.stream.decomposed` with KS statistics, from the folder where they are there, else by way of it.

        `u` and `vt` are maps of the files, u is None where the left side is not asked for; `w` has the matrix's shape
        and dtype, and no entries. Until the next call the files of these matrices stay.

        Raises:
          RunError: as of `run.stream.decomposed`; the folder cannot be written.
        """
        self._in_use = {self._path(source, side) for source in sources for side in BOTH}
        yield from self._each(sources, sides)

    def one(self, source: MatrixSource, sides: Sequence[str] = BOTH) -> Decomposed:
        """One matrix's, while others are in use."""
        return next(self._each([source], sides))[1]

    def _each(self, sources: Sequence[MatrixSource], sides: Sequence[str]) -> Iterator[tuple[MatrixSource, Decomposed]]:
        absent = []
        for source in sources:
            if found := self._read(source, sides):
                yield source, found
            else:
                absent.append(source)
        for source, fresh in decomposed(absent, self._strategy, ks=True, vectors=True if "left" in sides else "right"):
            self._write(source, fresh, sides)
            found = self._read(source, sides) or fresh  # its maps take its place, unless another process took them away
            del fresh
            yield source, found

    def _key(self, source: MatrixSource) -> dict[str, Any]:
        what = {"version": VERSION, "checkpoint": self._digest, "name": source.name, "dtype": str(source.dtype)}
        return what | {"strategy": choose(self._strategy), "shape": list(source.shape)}

    def _path(self, source: MatrixSource, side: str) -> Path:
        key = hashlib.sha256(json.dumps(self._key(source), sort_keys=True).encode()).hexdigest()[:40]
        return self.folder / f"{key}.{side}"

    def _read(self, source: MatrixSource, sides: Sequence[str]) -> Decomposed | None:
        """From the files; None where they are absent or damaged."""
        arrays: dict[str, np.ndarray] = {}
        heads = []
        for side in _files(sides):
            path = self._path(source, side)
            try:
                found, head = self._opened(path, source, side)
                heads.append(head)
                if head["beside"] not in ("", heads[0]["sha256"]):
                    raise ValueError("it is of another decomposition than the file beside it")
            except FileNotFoundError:
                return None
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                self.said.append(f"{path}: is damaged ({error}); {source.name} is decomposed anew")
                return None
            arrays |= found
            with contextlib.suppress(OSError):  # a folder that may only be read
                os.utime(path)  # it was used
        return _decomposed(source, heads[0]["numbers"], arrays)

    def _opened(self, path: Path, source: MatrixSource, side: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The arrays, mapped, and the line of a file; its sum is taken once."""
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        with path.open("rb") as file:
            line = file.readline(_LONGEST_LINE)
            if not line.endswith(b"\n"):
                raise ValueError("it does not begin as such a file does")
            head = json.loads(line)
            if not isinstance(head, dict) or head["key"] != self._key(source) or head["dtype"] not in _DTYPES:
                raise ValueError("it is of another matrix")
            stat = os.fstat(file.fileno())
            stamp = stat.st_size, stat.st_ino
            if self._summed.get(path) != stamp and _sum_of(head, file) != head["sha256"]:
                raise ValueError("its bytes are not those that were written")
            self._summed[path] = stamp
            arrays: dict[str, np.ndarray] = {}
            offset = len(line)
            for name in _ARRAYS[side]:  # of this file, whatever has its name by now
                arrays[name] = np.memmap(file, np.dtype(head["dtype"]), "r", offset, _shape(name, source.shape))
                offset += arrays[name].nbytes + _filling(arrays[name].nbytes)
        return arrays, head

    def _write(self, source: MatrixSource, found: Decomposed, sides: Sequence[str]) -> None:
        arrays = {name: np.asarray(getattr(found, name)[0]) for name in _ARRAYS["right"]}
        if found.u is not None:
            arrays["u_t"] = np.asarray(found.u[0]).T
        if not all(np.isfinite(array).all() for name, array in arrays.items() if name in ("s", "vt", "u_t")):
            raise RunError(f"{source.name}: has no singular vectors (NaN or infinity in its decomposition)")
        numbers = {name: _json_number(getattr(found, name)[0]) for name in _NUMBERS} | {"by": found.strategy[0]}
        beside = ""  # the sum of the first file: vectors of two decompositions may differ in sign
        for side in _files(sides):
            chosen = [np.ascontiguousarray(arrays[name], arrays["s"].dtype) for name in _ARRAYS[side]]
            self._make_room(sum(array.nbytes for array in chosen))
            head = {"key": self._key(source), "numbers": numbers, "dtype": arrays["s"].dtype.name, "beside": beside}
            digest = _sum(head, _padded(chosen))
            write_atomically(self._path(source, side), partial(_put, head | {"sha256": digest}, chosen))
            beside = beside or digest

    def _make_room(self, needed: int) -> None:
        """Let the files go that were longest unused, and what killed processes left."""
        there = []
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                with contextlib.suppress(OSError):  # another process may have taken it away
                    there += [(path, path.stat())] if _is_ours(path) else []
        total = needed + sum(stat.st_size for _, stat in there)
        for path, stat in sorted(there, key=lambda item: item[1].st_mtime):
            if path.name.startswith("."):  # what a process is writing, or was when it was killed
                gone = time.time() - stat.st_mtime > _FORGOTTEN
            else:
                gone = path not in self._in_use and total > self._limit
            if gone:
                path.unlink(missing_ok=True)
                total -= stat.st_size


def clear(folder: Path) -> None:
    """Take the files of stores away, and the folder where it holds nothing else."""
    for path in folder.glob("*"):
        if _is_ours(path):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def stored_bytes(shape: tuple[int, int], sides: Sequence[str] = BOTH) -> int:
    """Of a matrix's files in float64."""
    return sum(8 * math.prod(_shape(name, shape)) for side in _files(sides) for name in _ARRAYS[side])


def _files(sides: Sequence[str]) -> tuple[str, ...]:
    """The singular values lie beside the right vectors."""
    return tuple(dict.fromkeys(("right", *sides)))


def _shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    m, n = shape
    return {"vt": (min(m, n), n), "u_t": (min(m, n), m)}.get(name, (min(m, n),))


def _is_ours(path: Path) -> bool:
    """A file of a store, or what was to become one."""
    return _NAME.fullmatch(path.name) is not None


def _filling(size: int) -> int:
    return -size % _ALIGNED


def _padded(arrays: Sequence[np.ndarray]) -> Iterator[Any]:
    """The bytes of arrays, each beginning at a multiple of _ALIGNED."""
    for array in arrays:
        yield array.reshape(-1).data
        yield bytes(_filling(array.nbytes))


def _put(head: Mapping[str, Any], arrays: Sequence[np.ndarray], file: BinaryIO) -> None:
    line = json.dumps(head).encode()
    file.write(line + b" " * _filling(len(line) + 1) + b"\n")
    for part in _padded(arrays):
        file.write(part)


def _sum_of(head: Mapping[str, Any], file: BinaryIO) -> str:
    """Of the line and of what is still to be read."""
    return _sum({key: value for key, value in head.items() if key != "sha256"}, iter(lambda: file.read(_CHUNK), b""))


def _sum(head: Mapping[str, Any], parts: Iterable[Any]) -> str:
    digest = hashlib.sha256(json.dumps(head).encode())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _json_number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _decomposed(source: MatrixSource, numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Decomposed:
    of_entries = {name: np.array([numbers[name]], np.float64) for name in _NUMBERS}  # None becomes NaN
    u_t = arrays.get("u_t")
    return Decomposed(
        names=(source.name,),
        w=(np.broadcast_to(np.zeros((), jnp.dtype(source.dtype)), tuple(source.shape)),),
        status=("ok",),
        s=np.array(arrays["s"])[None],
        u=None if u_t is None else u_t.T[None],
        vt=arrays["vt"][None],
        ks_right=np.array(arrays["ks_right"])[None],
        ks_left=np.array(arrays["ks_left"])[None],
        strategy=(numbers["by"],),
        **of_entries,
    )
