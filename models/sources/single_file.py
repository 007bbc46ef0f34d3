"""One .safetensors file on its own: no config, hence a generic reading."""

import functools
from pathlib import Path
from typing import Any

from eigensweep.models.sources.identity import files_sha256
from eigensweep.models.sources.safetensors_file import open_safetensors
from eigensweep.models.sources.source import Source


def open_file(path: Path, name: str, config: dict[str, Any] | None = None) -> Source:
    """A .safetensors file as a source. Its own name is no part of its hash."""
    tensors, aliases = open_safetensors(path, path.name)
    return Source(
        name,
        "safetensors",
        tensors,
        config,
        {path.name: path.stat().st_size},
        functools.partial(files_sha256, {"": path}),
        aliases,
        () if config else (f"{path.name} is a file without config.json: the architecture is unknown",),
    )
