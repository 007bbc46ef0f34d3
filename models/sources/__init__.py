"""Where tensors come from, each kind of source one file; here is what they all give, and their content hashes.

The same bytes give the same hash, wherever they lie.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Skipped, Tensor
from eigensweep.models.sources.files import open_regular


@dataclass(frozen=True)
class Source:
    """An opened checkpoint before anything is known about its architecture.

    Attributes:
      name: what the user gave, for messages and the manifest.
      kind: huggingface, lora, orbax, safetensors, torch, gguf or dict.
      tensors: by name, in the order of the files.
      config: config.json (adapter_config.json for LoRA), None where there is none.
      files: size in bytes of every file that was taken, by its name inside the checkpoint.
      sha256: computes the content hash: over every byte of the files, whatever the folder is called.
      aliases: names that the file gives as second names of a tensor it holds, e.g. tied weights.
      warnings: what the user should know.
      directory: the folder with the files, for a hub id the snapshot in the hub's cache; a tokenizer that comes with
        the model lies there, too. None for a single file and a dict.
      notes: what eigensweep-convert noted beside the leaves, for converted checkpoints.
      left_out: tensors that are not among `tensors`, because nothing can be made of them.
      sizes: where there is no config.json (GGUF), what it would say of the architecture and its sizes: enough to tell
        the matrices, too little for a forward pass.
      origin: of a model of the hub: which commit, and what its hash was taken from.
      fetch: brings files that are not here yet, by their names; None where all are.
    """

    name: str
    kind: str
    tensors: dict[str, Tensor]
    config: dict | None
    files: dict[str, int]
    sha256: Callable[[], str]
    aliases: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    directory: Path | None = None
    notes: dict | None = None
    left_out: tuple[Skipped, ...] = ()
    sizes: dict | None = None
    origin: dict | None = None
    fetch: Callable[[Collection[str]], None] | None = None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file; CheckpointError where it cannot be read."""
    try:
        with open_regular(path) as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read: {e.strerror}") from e


def files_sha256(
    files: Mapping[str, Path], config: Mapping[str, Any] | None = None, known: Mapping[str, str] | None = None
) -> str:
    """SHA-256 over the sorted (name, SHA-256 of the content) of files, hashed in threads.

    Args:
      files: path of each file by its name inside the checkpoint, which is part of what is hashed.
      config: hashed, too, where it was given and stands in no file.
      known: SHA-256 of those that need not be read.
    """
    known = known or {}
    names = sorted(files)
    # hashlib releases the GIL; more threads than cores gain nothing.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(lambda name: known.get(name) or file_sha256(files[name]), names)
        lines = [f"{digest}  {name}\n" for name, digest in zip(names, digests, strict=True)]
    if config is not None:
        lines.append(f"{json.dumps(config, sort_keys=True, default=repr)}  config\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted (name, dtype, shape, bytes) of tensors, for sources without files."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        content = hashlib.sha256(tensor.read().tobytes()).hexdigest()
        total.update(f"{content}  {tensor.dtype} {list(tensor.shape)} {name}\n".encode())
    return total.hexdigest()
