"""Content hashes: the same bytes give the same hash, wherever they lie."""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eigensweep.models.errors import CheckpointError
from eigensweep.models.tensors import Tensor


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read: {e.strerror}") from e


def files_sha256(files: Mapping[str, Path]) -> str:
    """SHA-256 over the sorted (name, SHA-256 of the content) of files, hashed in threads.

    Args:
      files: path of each file by its name inside the checkpoint, which is part of what is hashed.
    """
    names = sorted(files)
    # hashlib releases the GIL; more threads than cores gain nothing.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(lambda name: _file_sha256(files[name]), names)
        lines = [f"{digest}  {name}\n" for name, digest in zip(names, digests, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted (name, dtype, shape, bytes) of tensors, for sources without files."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        content = hashlib.sha256(tensor.read().tobytes()).hexdigest()
        total.update(f"{content}  {tensor.dtype} {list(tensor.shape)} {name}\n".encode())
    return total.hexdigest()
