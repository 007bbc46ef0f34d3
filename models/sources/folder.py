"""Weights in files: a folder in Hugging Face layout, a PEFT LoRA adapter's folder, or one .safetensors file.

A model's folder holds config.json and one model.safetensors, or shards named by an index; the same with torch's
pickles. An adapter's holds adapter_config.json and adapter_model.safetensors.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from eigensweep.models.errors import CheckpointError, listed, printable, shown
from eigensweep.models.matrix import Tensor
from eigensweep.models.sources import Source, files_sha256
from eigensweep.models.sources.files import check_name, is_there, read_json, tensor_name
from eigensweep.models.sources.safetensors_file import open_safetensors
from eigensweep.models.sources.torch_file import TORCH_INDEX, TORCH_WEIGHTS, open_torch

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ADAPTER_TORCH_WEIGHTS = "adapter_model.bin"


def _check_shard(index: Path, name: str) -> None:
    """Refuses a shard that is missing, or that an index must not name."""
    check_name(index, name)
    if not is_there(index.parent / name):
        raise CheckpointError(f"{index}: names the shard {name!r}, but there is no such file")


def read_index_names(index: Path) -> dict[str, list[str]]:
    """The names of the tensors in each shard, by the shard's name; those are not checked."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map from tensors to shards")
    shards: dict[str, list[str]] = {}
    if len({printable(tensor) for tensor in weight_map}) < len(weight_map):
        raise CheckpointError(f"{index}: two tensors have the same name")
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise CheckpointError(f"{index}: tensor {shown(tensor)}: {shown(shard)} is no file name")
        shards.setdefault(shard, []).append(tensor_name(index, tensor))
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
            opened.warnings.append(f"{shard} holds tensors that {index.name} leaves out, and so do we: {listed(extra)}")
        opened.tensors.update((name, tensor) for name, tensor in held.items() if name in wanted)
    return opened


def _only_safetensors(folder: Path) -> str | None:
    """The name of the weights file where it is not called model.safetensors but is the only candidate."""
    found = sorted(p.name for p in folder.glob("*.safetensors"))
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: several .safetensors files ({listed(found)}), but neither {WEIGHTS} nor {INDEX} to say "
            f"which to take; give one of the files"
        )
    if found:
        check_name(folder, found[0])
    return found[0] if found else None


def _open_weights(folder: Path) -> _Opened:
    """The tensors of a folder, from safetensors where there are some; CheckpointError where there are no weights."""
    if is_there(folder / INDEX):
        return _open_shards(folder / INDEX, open_safetensors)
    if weights := WEIGHTS if is_there(folder / WEIGHTS) else _only_safetensors(folder):
        return _Opened(*open_safetensors(folder / weights, weights), [weights], [])
    if is_there(folder / TORCH_INDEX):
        return _open_shards(folder / TORCH_INDEX, open_torch)
    if is_there(folder / TORCH_WEIGHTS):
        return _Opened(*open_torch(folder / TORCH_WEIGHTS, TORCH_WEIGHTS), [TORCH_WEIGHTS], [])
    raise CheckpointError(_no_weights(folder))


def _config(path: Path, given: dict[str, Any] | None, opened: _Opened) -> dict[str, Any] | None:
    """The config in a file, which then belongs to the checkpoint; or the one given in its place."""
    if given is None and is_there(path):
        opened.files.append(path.name)
        return read_json(path)
    return given


def _source(
    name: str, kind: str, folder: Path, opened: _Opened, config: dict[str, Any] | None, given: bool = False
) -> Source:
    """A source over files of a folder, hashed by their names inside it, and by the config where it was given."""
    tensors, aliases, files, warnings = opened
    paths = {file: folder / file for file in files}
    sizes = {file: path.stat().st_size for file, path in paths.items()}
    kept = {second: first for second, first in aliases.items() if first in tensors and second not in tensors}
    sha256 = functools.partial(files_sha256, paths, config if given else None)
    return Source(name, kind, tensors, config, sizes, sha256, kept, tuple(warnings), folder)


def open_folder(folder: Path, name: str, config: dict[str, Any] | None = None) -> Source:
    """A folder as a source: an adapter where no whole model lies beside it, a model otherwise.

    Args:
      folder: where the files lie.
      name: what the user gave.
      config: in place of config.json, or of an adapter's adapter_config.json.

    Raises:
      CheckpointError: no weights in it, or broken ones; a config that is missing for an adapter, or is not JSON.
    """
    whole = any(is_there(folder / weights) for weights in (INDEX, WEIGHTS, TORCH_INDEX, TORCH_WEIGHTS))
    adapter = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_TORCH_WEIGHTS)
    if not whole and any(is_there(folder / file) for file in adapter):
        return _open_adapter(folder, name, config)
    opened = _open_weights(folder)
    kind = "torch" if {TORCH_WEIGHTS, TORCH_INDEX} & set(opened.files) else "huggingface"
    found = _config(folder / CONFIG, config, opened)
    if found is None:
        opened.warnings.append(f"{folder / CONFIG} is missing: the architecture is unknown")
    if is_there(folder / ADAPTER_CONFIG):
        opened.warnings.append(f"{folder} also holds an adapter, which is left out: the whole model is read")
    if found and found.get("quantization_config"):
        opened.warnings.append(f"{folder / CONFIG} says that the model is quantized: packed weights are left out")
    return _source(name, kind, folder, opened, found, config is not None)


def _open_adapter(folder: Path, name: str, config: dict[str, Any] | None) -> Source:
    """An adapter's folder as a source; the tensors keep PEFT's names."""
    for weights, opener in ((ADAPTER_WEIGHTS, open_safetensors), (ADAPTER_TORCH_WEIGHTS, open_torch)):
        if is_there(folder / weights):
            opened = _Opened(*opener(folder / weights, weights), [weights], [])
            found = _config(folder / ADAPTER_CONFIG, config, opened)
            if found is None:
                path = folder / ADAPTER_CONFIG
                raise CheckpointError(f"{path}: missing, and without it the scale of the update is unknown")
            return _source(name, "lora", folder, opened, found, config is not None)
    raise CheckpointError(f"{folder}: no weights: neither {ADAPTER_WEIGHTS} nor {ADAPTER_TORCH_WEIGHTS}")


def open_file(path: Path, name: str, config: dict[str, Any] | None = None) -> Source:
    """A .safetensors file as a source. Its own name is no part of its hash."""
    tensors, aliases = open_safetensors(path, path.name)
    warnings = () if config else (f"{path.name} is a file without config.json: the architecture is unknown",)
    sizes, sha256 = {path.name: path.stat().st_size}, functools.partial(files_sha256, {"": path})
    return Source(name, "safetensors", tensors, config, sizes, sha256, aliases, warnings)


def _no_weights(folder: Path) -> str:
    below = [p.parent.name for weights in (WEIGHTS, ADAPTER_WEIGHTS) for p in sorted(folder.glob(f"*/{weights}"))]
    hint = f"; but there are some in {listed(below)}" if below else ""
    return f"{folder}: no weights: none of {WEIGHTS}, {INDEX}, {ADAPTER_WEIGHTS}, {TORCH_WEIGHTS}{hint}"
