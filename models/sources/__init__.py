"""Where checkpoints come from. Each kind is one file; `open_source` tells them apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.adapter import is_adapter, open_adapter
from eigensweep.models.sources.arrays import open_arrays
from eigensweep.models.sources.folder import open_folder
from eigensweep.models.sources.hub import fetch, looks_like_hub_id
from eigensweep.models.sources.orbax import NOTES, open_orbax
from eigensweep.models.sources.single_file import open_file
from eigensweep.models.sources.source import Source

__all__ = ["Source", "open_source"]


def open_source(source: str | Path | Mapping[str, Any], config: dict[str, Any] | None = None) -> Source:
    """Opens whatever holds tensors: a folder, a file, a hub id or a dict of arrays.

    Raises:
      CheckpointError: there is no such thing, or it is broken.
    """
    if isinstance(source, Mapping):
        return open_arrays(source, config)
    path, name = Path(source).expanduser(), str(source)
    if not path.exists() and looks_like_hub_id(name):
        path = fetch(name)
    if (path / NOTES).is_file():
        return open_orbax(path, name)
    if path.is_dir():
        return open_adapter(path, name) if is_adapter(path) else open_folder(path, name)
    if path.is_file():
        if path.suffix != ".safetensors":
            raise CheckpointError(f"{path}: a folder with a checkpoint or a .safetensors file was expected")
        return open_file(path, name, config)
    raise CheckpointError(f"{path}: no such file or folder")
