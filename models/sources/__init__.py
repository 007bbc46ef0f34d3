"""Where checkpoints come from. Each kind is one file; `open_source` tells them apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.arrays import open_arrays
from eigensweep.models.sources.folder import open_folder
from eigensweep.models.sources.single_file import open_file
from eigensweep.models.sources.source import Source

__all__ = ["Source", "open_source"]


def open_source(source: str | Path | Mapping[str, Any], config: dict[str, Any] | None = None) -> Source:
    """Opens whatever holds tensors: a path or an array dict.

    Raises:
      CheckpointError: there is no such thing, or it is broken.
    """
    if isinstance(source, Mapping):
        return open_arrays(source, config)
    path, name = Path(source).expanduser(), str(source)
    if path.is_dir():
        opened = open_folder(path, name)
        if opened is None:
            raise CheckpointError(f"{path}: no weights in this folder")
        return opened
    if path.is_file():
        if path.suffix != ".safetensors":
            raise CheckpointError(f"{path}: not a .safetensors file, and no folder with a checkpoint")
        return open_file(path, name, config)
    raise CheckpointError(f"{path}: no such file or folder")
