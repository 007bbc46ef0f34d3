"""A folder in Hugging Face layout: config.json and one model.safetensors, or shards named by an index."""

import functools
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.identity import files_sha256
from eigensweep.models.sources.safetensors_file import open_safetensors
from eigensweep.models.sources.source import Source
from eigensweep.models.sources.torch_file import TORCH_INDEX, TORCH_WEIGHTS, open_torch
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


def lies_inside(folder: Path, path: Path) -> bool:
    """Whether a file is in a folder, links followed; those of the hub's own cache count as inside."""
    root, target = folder.resolve(), path.resolve()
    # The cache: models--owner--name/{blobs/<hash>, snapshots/<commit>/<file> -> ../../blobs/<hash>}.
    blob = root.parent.name == "snapshots" and target.parent == root.parent.parent / "blobs"
    return blob or target.is_relative_to(root)


def check_name(index: Path, name: Any) -> None:
    """Refuses a file name that an index must not give: an absolute one, or one that leaves the folder.

    Raises:
      CheckpointError: `../x`, `/x`, or no name at all.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise CheckpointError(f"{index}: {name!r} is no file name")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
        raise CheckpointError(f"{index}: names {name!r}, which lies outside the checkpoint's folder")


def _check_shard(index: Path, name: Any) -> None:
    """Refuses a shard that is missing or lies outside the folder. Links of the hub's own cache are followed."""
    check_name(index, name)
    path = index.parent / name
    if not path.is_file():
        raise CheckpointError(f"{index}: names the shard {name!r}, but there is no such file")
    if not lies_inside(index.parent, path):
        raise CheckpointError(
            f"{index}: names {name!r}, a link to {path.resolve()}, outside the checkpoint's folder"
        )


def read_index_names(index: Path) -> dict[str, list[str]]:
    """The names of the tensors in each shard, by the shard's name; the names are not checked."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map from tensors to shards")
    shards: dict[str, list[str]] = {}
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise CheckpointError(f"{index}: tensor {tensor!r}: {shard!r} is no file name")
        shards.setdefault(shard, []).append(tensor)
    return shards


Opener = Callable[[Path, str], tuple[dict[str, Tensor], dict[str, str]]]
"""Opens one weights file: its tensors, and second names (or metadata that may hold them)."""


def open_shards(
    index: Path, opener: Opener
) -> tuple[dict[str, Tensor], dict[str, str], list[str], list[str]]:
    """The tensors that an index names, second names, the files and warnings.

    Raises:
      CheckpointError: a shard is missing or outside the folder, or does not hold a tensor it should.
    """
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    warnings = []
    shards = read_index_names(index)
    for shard in sorted(shards):
        _check_shard(index, shard)
        held, held_aliases = opener(index.parent / shard, shard)
        aliases.update(held_aliases)
        wanted = set(shards[shard])
        for name in shards[shard]:
            if name not in held and name not in held_aliases:
                raise CheckpointError(f"{index}: tensor {name!r} should be in {shard}, but is not")
        if extra := sorted(held.keys() - wanted):
            warnings.append(
                f"{shard} holds tensors that {index.name} leaves out, and so do we: {', '.join(extra)}"
            )
        tensors.update((name, tensor) for name, tensor in held.items() if name in wanted)
    return tensors, aliases, [index.name, *sorted(shards)], warnings


def _only_safetensors(folder: Path) -> str | None:
    """The name of the weights file where it is not called model.safetensors but is the only candidate."""
    found = sorted(p.name for p in folder.glob("*.safetensors"))
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: several .safetensors files ({', '.join(found)}), but neither {WEIGHTS} nor {INDEX} to say "
            f"which to take; give one of the files"
        )
    return found[0] if found else None


def open_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, str], list[str], list[str]] | None:
    """The tensors of a folder, second names, the files and warnings; None where there are no weights."""
    if (folder / INDEX).is_file():
        return open_shards(folder / INDEX, open_safetensors)
    if weights := WEIGHTS if (folder / WEIGHTS).is_file() else _only_safetensors(folder):
        return *open_safetensors(folder / weights, weights), [weights], []
    if (folder / TORCH_INDEX).is_file():
        return open_shards(folder / TORCH_INDEX, open_torch)
    if (folder / TORCH_WEIGHTS).is_file():
        return *open_torch(folder / TORCH_WEIGHTS, TORCH_WEIGHTS), [TORCH_WEIGHTS], []
    return None


def open_folder(folder: Path, name: str) -> Source:
    """A folder in Hugging Face layout as a source.

    Raises:
      CheckpointError: no weights in it, or broken ones; a config.json that is not JSON.
    """
    opened = open_weights(folder)
    if opened is None:
        raise CheckpointError(_no_weights(folder))
    tensors, aliases, files, warnings = opened
    config = None
    if (folder / "config.json").is_file():
        config = read_json(folder / "config.json")
        files.append("config.json")
    else:
        warnings.append(f"{folder / 'config.json'} is missing: the architecture is unknown")
    if (folder / "adapter_config.json").is_file():
        warnings.append(f"{folder} also holds an adapter, which is left out: the whole model is read")
    if config and config.get("quantization_config"):
        warnings.append(
            f"{folder / 'config.json'} says that the model is quantized: packed weights are left out"
        )
    kind = "torch" if TORCH_WEIGHTS in files or TORCH_INDEX in files else "huggingface"
    return from_files(name, kind, folder, files, tensors, aliases, config, warnings)


def _no_weights(folder: Path) -> str:
    below = sorted(p.parent.name for p in folder.glob(f"*/{WEIGHTS}")) + sorted(
        p.parent.name for p in folder.glob("*/adapter_model.safetensors")
    )
    hint = f"; but there are some in {', '.join(below)}" if below else ""
    return (
        f"{folder}: no weights: none of {WEIGHTS}, {INDEX}, adapter_model.safetensors, {TORCH_WEIGHTS}{hint}"
    )


def from_files(
    name: str,
    kind: str,
    folder: Path,
    files: list[str],
    tensors: dict[str, Tensor],
    aliases: dict[str, str],
    config: dict[str, Any] | None,
    warnings: list[str],
) -> Source:
    """A source over files of a folder, hashed by their names inside it."""
    paths = {file: folder / file for file in files}
    sizes = {file: path.stat().st_size for file, path in paths.items()}
    kept = {second: first for second, first in aliases.items() if first in tensors and second not in tensors}
    return Source(
        name,
        kind,
        tensors,
        config,
        sizes,
        functools.partial(files_sha256, paths),
        kept,
        tuple(warnings),
        folder,
    )
