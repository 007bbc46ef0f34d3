"""Files that are whole or as they were: text, JSON and Parquet."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from eigensweep.engine.tables.errors import RunError


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there: `path` is whole or as it was.

    Raises:
      RunError: if the folder cannot be written or the disk is full; nothing is left behind.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of `write_atomically` that a killed process left in `folder`."""
    for pattern in (".*.parquet.*", ".*.json.*"):
        for leftover in folder.glob(pattern):
            leftover.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file by these bytes, atomically."""
    write_atomically(path, lambda file: file.write(data))


def write_table(path: Path, table: pa.Table) -> None:
    """Replace a Parquet file, atomically."""
    write_bytes(path, table_bytes(table))


def table_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file's bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def read_table(path: Path, check: Callable[[bytes], None] | None = None) -> pa.Table:
    """A Parquet file.

    Args:
      check: is given its bytes, and raises what it likes.

    Raises:
      RunError: it is not there, or broken.
    """
    try:
        data = path.read_bytes()
        if check is not None:
            check(data)
        return pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file, atomically."""
    write_bytes(path, json.dumps(content, indent=1, allow_nan=False).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON file's object; None where there is no file.

    Raises:
      RunError: it cannot be read, or holds something else.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: cannot be read: expected an object, found {type(content).__name__}")
    return content
