"""Weights in files: a folder in Hugging Face layout, a PEFT LoRA adapter's folder, or one .safetensors file.

A model's folder holds config.json and one model.safetensors, or shards named by an index; the same with torch's
pickles. An adapter's holds adapter_config.json and adapter_model.safetensors.
"""

import functools
import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Tensor
from eigensweep.models.sources import Source, files_sha256
from eigensweep.models.sources.arrays import open_torch
from eigensweep.models.sources.choice import Choice, choose
from eigensweep.models.sources.safetensors_file import open_safetensors
from eigensweep.models.sources.watch import Opener, Watch


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
        raise CheckpointError(f"{index}: names {name!r}, a link to {path.resolve()}, outside the checkpoint's folder")


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


class _Opened(NamedTuple):
    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    files: list[str]
    warnings: list[str]


def _open_shards(index: Path, opener: Opener) -> _Opened:
    """The tensors that an index names.

    Raises:
      CheckpointError: a shard is missing or outside the folder, or does not hold a tensor it should.
    """
    shards = read_index_names(index)
    opened = _Opened({}, {}, [index.name, *sorted(shards)], [])
    for shard in sorted(shards):
        _check_shard(index, shard)
        held, aliases = opener(index.parent / shard, shard)
        opened.aliases.update(aliases)
        wanted = set(shards[shard])
        for name in shards[shard]:
            if name not in held and name not in aliases:
                raise CheckpointError(f"{index}: tensor {name!r} should be in {shard}, but is not")
        if extra := sorted(held.keys() - wanted):
            opened.warnings.append(
                f"{shard} holds tensors that {index.name} leaves out, and so do we: {', '.join(extra)}"
            )
        opened.tensors.update((name, tensor) for name, tensor in held.items() if name in wanted)
    return opened


def names_in(folder: Path) -> list[str]:
    """The files in a folder and in those right below it, with `/` between."""
    found = [*folder.glob("*"), *folder.glob("*/*")]
    return sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())


def open_folder(folder: Path, name: str) -> Source:
    """A folder as a source, of the files that `choose` names.

    Raises:
      CheckpointError: no weights in it, or broken ones; a config that is missing for an adapter, or is not JSON.
    """
    return open_chosen(folder, name, choose(names_in(folder), str(folder)))


def open_chosen(folder: Path, name: str, chosen: Choice, opener: Opener = open_safetensors) -> Source:
    """The chosen files of a folder as a source, hashed by their names inside it.

    Args:
      opener: of .safetensors files.
    """
    watch = Watch()
    opener = watch.opened(
        open_torch if (chosen.index or chosen.weights).endswith((".bin", ".bin.index.json")) else opener
    )
    if chosen.index:
        opened = _open_shards(watch.add(folder / chosen.index), opener)
    else:
        opened = _Opened(*opener(folder / chosen.weights, chosen.weights), [chosen.weights], [])
    tensors, aliases, files, warnings = opened
    config = None
    if chosen.config:
        config = read_json(watch.add(folder / chosen.config))
        files.append(chosen.config)
    if chosen.kind != "lora" and config and config.get("quantization_config"):
        warnings.append(f"{folder / chosen.config} says that the model is quantized: packed weights are left out")
    paths = {file: folder / file for file in files}
    sizes = {file: path.stat().st_size for file, path in paths.items()}
    kept = {second: first for second, first in aliases.items() if first in tensors and second not in tensors}
    sha256 = watch.hashed(functools.partial(files_sha256, paths))
    said = (*chosen.warnings, *warnings)
    return Source(name, chosen.kind, tensors, config, sizes, sha256, kept, said, folder)


def open_file(path: Path, name: str, config: dict[str, Any] | None = None) -> Source:
    """A .safetensors file as a source. Its own name is no part of its hash."""
    watch = Watch()
    tensors, aliases = watch.opened(open_safetensors)(path, path.name)
    warnings = () if config else (f"{path.name} is a file without config.json: the architecture is unknown",)
    sizes, sha256 = {path.name: path.stat().st_size}, watch.hashed(functools.partial(files_sha256, {"": path}))
    return Source(name, "safetensors", tensors, config, sizes, sha256, aliases, warnings)
