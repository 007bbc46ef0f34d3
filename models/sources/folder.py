"""Weights in files: a folder in Hugging Face layout, a PEFT LoRA adapter's folder, or one .safetensors file.

A model's folder holds config.json and one model.safetensors, or shards named by an index; the same with torch's
pickles. An adapter's holds adapter_config.json and adapter_model.safetensors.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from eigensweep.models.errors import CheckpointError, listed
from eigensweep.models.matrix import Tensor
from eigensweep.models.sources import Source, files_sha256
from eigensweep.models.sources.arrays import TORCH_INDEX, TORCH_WEIGHTS, open_torch
from eigensweep.models.sources.safetensors_file import open_safetensors

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ADAPTER_TORCH_WEIGHTS = "adapter_model.bin"


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


Opener = Callable[[Path, str], tuple[dict[str, Tensor], dict[str, str]]]
"""Opens one weights file: its tensors, and second names of them."""


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


def _only_safetensors(folder: Path) -> str | None:
    """The name of the weights file where it is not called model.safetensors but is the only candidate."""
    found = sorted(p.name for p in folder.glob("*.safetensors"))
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: several .safetensors files ({', '.join(found)}), but neither {WEIGHTS} nor {INDEX} to say "
            f"which to take; give one of the files"
        )
    return found[0] if found else None


def _open_weights(folder: Path) -> _Opened:
    """The tensors of a folder, from safetensors where there are some; CheckpointError where there are no weights."""
    if (folder / INDEX).is_file():
        return _open_shards(folder / INDEX, open_safetensors)
    if weights := WEIGHTS if (folder / WEIGHTS).is_file() else _only_safetensors(folder):
        return _Opened(*open_safetensors(folder / weights, weights), [weights], [])
    if (folder / TORCH_INDEX).is_file():
        return _open_shards(folder / TORCH_INDEX, open_torch)
    if (folder / TORCH_WEIGHTS).is_file():
        return _Opened(*open_torch(folder / TORCH_WEIGHTS, TORCH_WEIGHTS), [TORCH_WEIGHTS], [])
    raise CheckpointError(_no_weights(folder))


def _source(name: str, kind: str, folder: Path, opened: _Opened, config: dict[str, Any] | None) -> Source:
    """A source over files of a folder, hashed by their names inside it."""
    tensors, aliases, files, warnings = opened
    paths = {file: folder / file for file in files}
    sizes = {file: path.stat().st_size for file, path in paths.items()}
    kept = {second: first for second, first in aliases.items() if first in tensors and second not in tensors}
    sha256 = functools.partial(files_sha256, paths)
    return Source(name, kind, tensors, config, sizes, sha256, kept, tuple(warnings), folder)


def open_folder(folder: Path, name: str) -> Source:
    """A folder as a source: an adapter where no whole model lies beside it, a model otherwise.

    Raises:
      CheckpointError: no weights in it, or broken ones; a config that is missing for an adapter, or is not JSON.
    """
    whole = any((folder / weights).is_file() for weights in (INDEX, WEIGHTS, TORCH_INDEX, TORCH_WEIGHTS))
    adapter = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_TORCH_WEIGHTS)
    if not whole and any((folder / file).is_file() for file in adapter):
        return _open_adapter(folder, name)
    opened = _open_weights(folder)
    kind = "torch" if {TORCH_WEIGHTS, TORCH_INDEX} & set(opened.files) else "huggingface"
    config = None
    if (folder / CONFIG).is_file():
        config = read_json(folder / CONFIG)
        opened.files.append(CONFIG)
    else:
        opened.warnings.append(f"{folder / CONFIG} is missing: the architecture is unknown")
    if (folder / ADAPTER_CONFIG).is_file():
        opened.warnings.append(f"{folder} also holds an adapter, which is left out: the whole model is read")
    return _source(name, kind, folder, opened, config)


def _open_adapter(folder: Path, name: str) -> Source:
    """An adapter's folder as a source; the tensors keep PEFT's names."""
    if not (folder / ADAPTER_CONFIG).is_file():
        raise CheckpointError(f"{folder / ADAPTER_CONFIG}: missing, and without it the scale of the update is unknown")
    config = read_json(folder / ADAPTER_CONFIG)
    for weights, opener in ((ADAPTER_WEIGHTS, open_safetensors), (ADAPTER_TORCH_WEIGHTS, open_torch)):
        if (folder / weights).is_file():
            opened = _Opened(*opener(folder / weights, weights), [weights, ADAPTER_CONFIG], [])
            return _source(name, "lora", folder, opened, config)
    raise CheckpointError(f"{folder}: no weights: neither {ADAPTER_WEIGHTS} nor {ADAPTER_TORCH_WEIGHTS}")


def open_file(path: Path, name: str, config: dict[str, Any] | None = None) -> Source:
    """A .safetensors file as a source. Its own name is no part of its hash."""
    tensors, aliases = open_safetensors(path, path.name)
    warnings = () if config else (f"{path.name} is a file without config.json: the architecture is unknown",)
    sizes, sha256 = {path.name: path.stat().st_size}, functools.partial(files_sha256, {"": path})
    return Source(name, "safetensors", tensors, config, sizes, sha256, aliases, warnings)


def _no_weights(folder: Path) -> str:
    below = [p.parent.name for weights in (WEIGHTS, ADAPTER_WEIGHTS) for p in sorted(folder.glob(f"*/{weights}"))]
    hint = f"; but there are some in {', '.join(below)}" if below else ""
    if files := sorted(path.name for path in folder.glob("*.gguf")):
        hint += f"; of its GGUF files ({listed(files)}) give one"
    return f"{folder}: no weights: none of {WEIGHTS}, {INDEX}, {ADAPTER_WEIGHTS}, {TORCH_WEIGHTS}{hint}"
