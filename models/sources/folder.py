"""Weights in files: a folder in Hugging Face layout, a PEFT LoRA adapter's folder, or one .safetensors file.

A model's folder holds config.json and one model.safetensors, or shards named by an index; the same with torch's
pickles. An adapter's holds adapter_config.json and adapter_model.safetensors.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from eigensweep.models.errors import CheckpointError, listed, printable, shown
from eigensweep.models.matrix import Tensor
from eigensweep.models.sources import Source, files_sha256
from eigensweep.models.sources.choice import Choice, choose
from eigensweep.models.sources.files import check_name, is_there, read_json, tensor_name
from eigensweep.models.sources.safetensors_file import open_safetensors
from eigensweep.models.sources.torch_file import open_torch
from eigensweep.models.sources.watch import Opener, Watch


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


class Away(NamedTuple):
    """A weights file that is known by its header alone; its tensors' readers bring it."""

    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    size: int
    sha256: str


def _open_shards(index: Path, opener: Opener, away: Mapping[str, Away]) -> _Opened:
    """The tensors that an index names.

    Raises:
      CheckpointError: a shard is missing or outside the folder, or does not hold a tensor it should.
    """
    shards = read_index_names(index)
    opened = _Opened({}, {}, [index.name, *sorted(shards)], [])
    for shard in sorted(shards):
        if shard in away:
            held, aliases = away[shard].tensors, away[shard].aliases
        else:
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


def names_in(folder: Path) -> list[str]:
    """What is in a folder and in those right below it, with `/` between: whatever it is, reading it will tell."""
    return sorted(path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/*")))


def open_folder(folder: Path, name: str, config: dict[str, Any] | None = None) -> Source:
    """A folder as a source, of the files that `choose` names.

    Args:
      config: in place of config.json, or of an adapter's adapter_config.json.

    Raises:
      CheckpointError: no weights in it, or broken ones; a config that is missing for an adapter, or is not JSON.
    """
    return open_chosen(folder, name, choose(names_in(folder), str(folder), config is not None), config=config)


def open_chosen(
    folder: Path,
    name: str,
    chosen: Choice,
    away: Mapping[str, Away] | None = None,
    config: dict[str, Any] | None = None,
) -> Source:
    """The chosen files of a folder as a source, hashed by their names inside it.

    Args:
      away: weights that need not be in the folder yet, by their names.
      config: in place of the file's; it is hashed in that one's stead.
    """
    watch = Watch()
    opener = watch.opened(open_torch if chosen.pickled else open_safetensors)
    away = away or {}
    if chosen.index:
        opened = _open_shards(watch.add(folder / chosen.index), opener, away)
    elif chosen.weights in away:
        there = away[chosen.weights]
        opened = _Opened(there.tensors, there.aliases, [chosen.weights], [])
    else:
        opened = _Opened(*opener(folder / chosen.weights, chosen.weights), [chosen.weights], [])
    tensors, aliases, files, warnings = opened
    given = config
    if given is None and chosen.config:
        config = read_json(watch.add(folder / chosen.config))
        files.append(chosen.config)
    paths = {file: folder / file for file in files}
    sizes = {file: away[file].size if file in away else path.stat().st_size for file, path in paths.items()}
    kept = {second: first for second, first in aliases.items() if first in tensors and second not in tensors}
    known = {file: there.sha256 for file, there in away.items()}
    sha256 = watch.hashed(functools.partial(files_sha256, paths, given, known))
    said = (*chosen.warnings, *warnings)
    return Source(name, chosen.kind, tensors, config, sizes, sha256, kept, said, folder)


def open_file(path: Path, name: str, config: dict[str, Any] | None = None) -> Source:
    """A .safetensors file as a source. Its own name is no part of its hash."""
    watch = Watch()
    tensors, aliases = watch.opened(open_safetensors)(path, path.name)
    warnings = () if config else (f"{path.name} is a file without config.json: the architecture is unknown",)
    sizes, sha256 = {path.name: path.stat().st_size}, watch.hashed(functools.partial(files_sha256, {"": path}))
    return Source(name, "safetensors", tensors, config, sizes, sha256, aliases, warnings)
