"""A model on the Hugging Face hub: what a folder would be read from, each file fetched when it is first needed.

The files are chosen by their names as in a folder. Config, tokenizer and indices come at once; of a shard only the
header is asked for (by a range request), and the whole shard comes when one of its tensors is read, or when
`Checkpoint.fetch` asks for the shards of the matrices to be swept, several at a time. Every file that comes is held
against the SHA-256 that the hub gives for it, so that the content's hash, taken from those sums, is that of a folder
with the same files, and holds for what is read. Never code, never the same weights in a second format.
"""

import fnmatch
import functools
import os
import re
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

import numpy as np

from eigensweep.models.converted import NOTES, open_orbax
from eigensweep.models.errors import CheckpointError, listed
from eigensweep.models.matrix import PEEK, Tensor
from eigensweep.models.sources import Source, file_sha256
from eigensweep.models.sources.choice import INDEX, TORCH_INDEX, Choice, choose
from eigensweep.models.sources.files import check_name
from eigensweep.models.sources.folder import Away, names_in, open_chosen, read_index_names
from eigensweep.models.sources.repository import WORKERS, Repository, cached_folder, find, unreachable
from eigensweep.models.sources.safetensors_file import DTYPES, open_safetensors
from eigensweep.models.sources.watch import Watch

_HASHED = "from the hub's SHA-256 of every large file; each file is held against it when it comes, those that are not "
_HASHED += "needed never came"
_ID = re.compile(r"([A-Za-z0-9_][\w.-]*(?:/[\w.-]+)?)(?:@([\w./-]+))?")
_SUFFIX = ".safetensors"

SMALL_FILES = (
    *("config.json", "adapter_config.json", INDEX, TORCH_INDEX, "generation_config.json"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.*", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
    *("chat_template.jinja", "chat_template.json"),
)
"""What is fetched beside the weights, as patterns: what names the architecture, and every kind of tokenizer."""


def looks_like_hub_id(text: str) -> bool:
    """Whether text has the form `owner/name` or `name`, perhaps with `@revision`."""
    return _ID.fullmatch(text) is not None and not text.endswith((".safetensors", ".bin", ".pt", ".ckpt"))


def open_hub(text: str, config: dict[str, Any] | None = None) -> Source:
    """A model of the hub as a source; its weights come when they are read.

    Args:
      text: `owner/name` or `owner/name@revision`.
      config: in place of the repository's config.json.

    Raises:
      CheckpointError: no such model, no weights, no access, or the hub is out of reach and its cache has it not.
    """
    match = _ID.fullmatch(text)
    assert match, text
    repo, revision = match[1], match[2]
    found = find(repo, revision)
    if found is None:
        return _open_cached(repo, revision, text, config)
    if NOTES in found.files:
        found.download(found.files)
        return open_orbax(found.folder, text)
    chosen = choose(found.files, repo, config is not None)
    small = [name for name in found.files if any(fnmatch.fnmatchcase(name, pattern) for pattern in SMALL_FILES)]
    found.download({*small, *filter(None, (chosen.index, chosen.config))})
    weights = _weights(found, chosen)
    lazy = [name for name in weights if name.endswith(_SUFFIX) and found.files[name]["sha256"]]
    with ThreadPoolExecutor(WORKERS) as pool:
        told = dict(zip(lazy, pool.map(functools.partial(_shard, found), lazy), strict=True))
    found.keep()
    shards = {name: shard for name, shard in told.items() if shard is not None}
    found.download([name for name in weights if name not in shards])
    for name in weights:
        if name not in shards and found.files[name]["sha256"]:
            _verify(found, name)
    away = {
        name: Away(shard.tensors, shard.aliases, found.files[name]["size"], found.files[name]["sha256"])
        for name, shard in shards.items()
    }
    source = open_chosen(found.folder, text, chosen, away, config)
    origin = {"repository": repo, "commit": found.commit, "sha256": _HASHED}
    said = (*found.warnings, *source.warnings)
    return replace(source, origin=origin, fetch=functools.partial(_fetch, shards), warnings=said)


def _fetch(shards: Mapping[str, "_Shard"], names: Collection[str]) -> None:
    """Bring those of the shards that are not here, several at once."""
    wanted = [shards[name] for name in sorted(set(names)) if name in shards]
    if wanted:
        wanted[0].found.download([shard.name for shard in wanted])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda shard: shard.fetched(), wanted))


def _weights(found: Repository, chosen: Choice) -> list[str]:
    if not chosen.index:
        return [chosen.weights]
    index = found.folder / chosen.index
    names = sorted(read_index_names(index))
    for name in names:
        check_name(index, name)
    if absent := [name for name in names if name not in found.files]:
        raise CheckpointError(f"{index}: names the shard {absent[0]!r}, but {found.repo} has no such file")
    return names


@dataclass
class _Shard:
    """A shard that may not be here yet."""

    found: Repository
    name: str
    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    _read: dict[str, Tensor] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def fetched(self) -> dict[str, Tensor]:
        """Its tensors, once it has come whole and is what the hub says."""
        with self._lock:
            if not self._read:
                self.found.download([self.name])
                self.found.keep()
                path = self.found.folder / self.name
                opener = Watch().opened(open_safetensors)
                held, _ = opener(path, self.name)
                _verify(self.found, self.name)
                if {n: (t.shape, t.dtype) for n, t in held.items()} != {
                    n: (t.shape, t.dtype) for n, t in self.tensors.items()
                }:
                    raise CheckpointError(f"{path}: its header is not the one that the hub gave before")
                self._read = held
            return self._read

    def read(self, tensor: str, start: int, stop: int) -> np.ndarray:
        """Rows of a tensor."""
        return self.fetched()[tensor].read(start, stop)


def _shard(found: Repository, name: str) -> _Shard | None:
    """A shard by its header alone; None where that is nothing to go by, and the shard itself has to tell."""
    if (found.folder / name).is_file():
        held, aliases = open_safetensors(found.folder / name, name)
        shard = _Shard(found, name, held, aliases)
        shard.tensors = {key: replace(t, reader=functools.partial(shard.read, key)) for key, t in held.items()}
        return shard
    header, data = found.header(name)
    if not isinstance(header, dict) or not isinstance(metadata := header.get("__metadata__") or {}, dict):
        return None
    shard = _Shard(found, name, {}, {})
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str) or entry["dtype"] not in DTYPES:
            return None
        shape, offsets = entry.get("shape"), entry.get("data_offsets")
        if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
            return None
        reader = functools.partial(shard.read, key)
        begin, count = data + offsets[0], min(PEEK, max(0, offsets[1] - offsets[0]))
        first = functools.partial(found.first_bytes, name, key, begin, count)
        shard.tensors[key] = Tensor(key, tuple(shape), DTYPES[entry["dtype"]].name, name, reader, first=first)
    shard.aliases.update(
        (second, kept)
        for second, kept in metadata.items()
        if isinstance(kept, str) and kept in shard.tensors and second not in shard.tensors
    )
    return shard


def _whole_numbers(x: Any) -> TypeGuard[list[int]]:
    return isinstance(x, list) and all(type(i) is int and 0 <= i < 1 << 62 for i in x)


def _verify(found: Repository, name: str) -> None:
    path = found.folder / name
    if file_sha256(path) != found.files[name]["sha256"]:
        raise CheckpointError(
            f"{path}: is damaged: its SHA-256 is not the one that the hub gives; delete {path.resolve()}, start again"
        )


def _open_cached(repo: str, revision: str | None, text: str, config: dict[str, Any] | None) -> Source:
    """What another program left in the cache: all that is chosen from it must be there, for nobody can be asked."""
    folder = cached_folder(repo, revision)
    assert folder is not None, text
    names = names_in(folder)
    if NOTES in names:
        return open_orbax(folder, text)
    try:
        chosen = choose(names, str(folder), config is not None)
    except CheckpointError as e:
        raise unreachable(repo, revision, "weights") from e
    shards = list(read_index_names(folder / chosen.index)) if chosen.index else [chosen.weights]
    for name in shards:
        check_name(folder / (chosen.index or chosen.weights), name)
    if absent := sorted(name for name in shards if name not in names):
        raise unreachable(repo, revision, listed(absent))
    source = open_chosen(folder, text, chosen, config=config)
    said = f"the hub cannot be reached: {repo} is what the cache has of commit {folder.name}"
    return replace(source, warnings=(*source.warnings, said))
