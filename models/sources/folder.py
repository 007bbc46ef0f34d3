"""A folder in Hugging Face layout: config.json and one model.safetensors, or shards named by an index."""

import functools
import json
import os
from pathlib import Path
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.identity import files_sha256
from eigensweep.models.sources.safetensors_file import open_safetensors
from eigensweep.models.sources.source import Source
from eigensweep.models.tensors import Tensor

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; CheckpointError where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"{path}: not JSON: {e}") from e
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: a JSON object was expected, got {type(value).__name__}")
    return value


def _made_by_hub_cache(folder: Path, target: Path) -> bool:
    """Whether target is a blob of the hub's cache that folder, a snapshot in it, may link to."""
    # The cache: models--owner--name/{blobs/<hash>, snapshots/<commit>/<file> -> ../../blobs/<hash>}.
    return folder.parent.name == "snapshots" and target.parent == folder.parent.parent / "blobs"


def inside(folder: Path, name: Any, named_by: str) -> Path:
    """The path of a file that an index names, which must lie in the checkpoint's folder.

    Links of the hub's own cache are followed; others must stay inside, too.

    Raises:
      CheckpointError: `../x`, an absolute path, a link to elsewhere, or no such file.
    """
    index = folder / named_by
    if not isinstance(name, str) or not name or "\0" in name:
        raise CheckpointError(f"{index}: {name!r} is no file name")
    path = Path(os.path.normpath(folder / name))
    if Path(name).is_absolute() or "\\" in name or not path.is_relative_to(os.path.normpath(folder)):
        raise CheckpointError(f"{index}: names {name!r}, which lies outside the checkpoint's folder")
    if not path.is_file():
        raise CheckpointError(f"{index}: names {name!r}, but there is no such file in {folder}")
    root, target = folder.resolve(), path.resolve()
    if not target.is_relative_to(root) and not _made_by_hub_cache(root, target):
        raise CheckpointError(f"{index}: names {name!r}, a link to {target}, outside the checkpoint's folder")
    return path


def read_index(folder: Path, index: str) -> dict[str, list[str]]:
    """The names of the tensors in each shard, by the shard's name, from `index`'s weight_map."""
    weight_map = read_json(folder / index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / index}: has no weight_map from tensors to shards")
    shards: dict[str, list[str]] = {}
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or shard not in shards:
            inside(folder, shard, index)
        shards.setdefault(shard, []).append(tensor)
    return shards


def _open_shards(folder: Path) -> tuple[dict[str, Tensor], dict[str, str], list[str], list[str]]:
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    warnings = []
    shards = read_index(folder, INDEX)
    for shard in sorted(shards):
        held, shard_metadata = open_safetensors(folder / shard, shard)
        metadata.update(shard_metadata)
        for name in shards[shard]:
            if name not in held:
                raise CheckpointError(f"{folder / INDEX}: tensor {name!r} should be in {shard}, but is not")
        if extra := sorted(held.keys() - set(shards[shard])):
            warnings.append(
                f"{shard} holds tensors that {INDEX} does not name; they are left out: {', '.join(extra)}"
            )
        tensors.update((name, tensor) for name, tensor in held.items() if name in set(shards[shard]))
    return tensors, metadata, [INDEX, *shards], warnings


def _only_safetensors(folder: Path) -> str | None:
    """The name of the weights file where it is not called model.safetensors but is the only candidate."""
    found = sorted(p.name for p in folder.glob("*.safetensors"))
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: several .safetensors files ({', '.join(found)}), but neither {WEIGHTS} nor {INDEX} to say "
            f"which to take; give one of the files"
        )
    return found[0] if found else None


def aliases_in(metadata: dict[str, str], tensors: dict[str, Tensor]) -> dict[str, str]:
    """Second names that safetensors' `save_model` notes in the metadata when it drops a shared tensor."""
    return {name: kept for name, kept in metadata.items() if kept in tensors and name not in tensors}


def open_folder(folder: Path, name: str) -> Source | None:
    """A folder with safetensors weights as a source; None where it holds none."""
    warnings: list[str] = []
    if (folder / INDEX).is_file():
        tensors, metadata, files, warnings = _open_shards(folder)
    elif weights := WEIGHTS if (folder / WEIGHTS).is_file() else _only_safetensors(folder):
        (tensors, metadata), files = open_safetensors(folder / weights, weights), [weights]
    else:
        return None
    config, config_files, config_warnings = read_config(folder)
    return from_files(
        name,
        "huggingface",
        folder,
        [*files, *config_files],
        tensors,
        config,
        metadata,
        warnings + config_warnings,
    )


def read_config(folder: Path) -> tuple[dict[str, Any] | None, list[str], list[str]]:
    """config.json, the list of its name and a warning where it is missing."""
    if (folder / "config.json").is_file():
        return read_json(folder / "config.json"), ["config.json"], []
    return None, [], [f"{folder / 'config.json'} is missing: the architecture is unknown"]


def from_files(
    name: str,
    kind: str,
    folder: Path,
    files: list[str],
    tensors: dict[str, Tensor],
    config: dict[str, Any] | None,
    metadata: dict[str, str],
    warnings: list[str],
) -> Source:
    """A source over files of a folder, hashed by their names inside it."""
    paths = {file: folder / file for file in files}
    return Source(
        name,
        kind,
        tensors,
        config,
        {file: path.stat().st_size for file, path in paths.items()},
        functools.partial(files_sha256, paths),
        aliases_in(metadata, tensors),
        tuple(warnings),
        folder,
    )
