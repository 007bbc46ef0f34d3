"""One commit of a repository on the Hugging Face hub: its files with their sums, and how they come here.

What the hub says of a commit (names, sizes, SHA-256 of the large files, headers of shards) is kept beside the hub's
own cache, in `models--owner--name/eigensweep/<commit>.json`: without the hub the same files are chosen and the same
hash is given, also where only some of them are here.
"""

import contextlib
import glob
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eigensweep.models.errors import CheckpointError, listed

SECONDS = 10  # until a silent hub is taken for out of reach
WORKERS = 8
_SECONDS_BETWEEN_KEEPING = 2.0  # of the first bytes of many tensors
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FIRST = 100_000  # bytes in which most headers of shards lie
_MAX_HEADER = 100_000_000


class Unreachable(Exception):
    """The hub does not answer, or has trouble of its own."""


@contextlib.contextmanager
def hub_errors(repo: str, revision: str | None = None) -> Iterator[None]:
    """What the hub's library raises, as a line for the user, or as `Unreachable`.

    Raises:
      CheckpointError: no such repository or revision, no access to it, or an answer that makes no sense.
      Unreachable: offline, no connection, no answer in time, or an error of the server's own.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as e:
        raise CheckpointError(
            f"{repo}: this model on the Hugging Face hub is gated: accept its terms at https://huggingface.co/{repo}, "
            f"and log in (`hf auth login`)"
        ) from e
    except errors.RepositoryNotFoundError as e:
        raise CheckpointError(
            f"{repo}: no such file or folder, and no such model on the Hugging Face hub; if it is private or gated, "
            f"log in (`hf auth login`)"
        ) from e
    except errors.RevisionNotFoundError as e:
        raise CheckpointError(f"{repo}: this model on the Hugging Face hub has no revision {revision!r}") from e
    except (errors.HTTPError, OSError) as e:
        status = getattr(getattr(e, "response", None), "status_code", None)
        if isinstance(e, errors.LocalEntryNotFoundError):  # the library's word for every trouble with a file
            if (cause := e.__cause__) is not None and not isinstance(cause, errors.LocalEntryNotFoundError):
                with hub_errors(repo, revision):
                    raise cause from None
            raise Unreachable(_first_line(e)) from e
        if isinstance(status, int) and status < 500 and status != 429:
            raise CheckpointError(f"{repo}: cannot be had from the Hugging Face hub: {_first_line(e)}") from e
        if status is None and getattr(e, "errno", None):  # of this machine: a full disk, a cache without permission
            raise CheckpointError(f"{repo}: cannot be brought into the hub's cache: {_first_line(e)}") from e
        raise Unreachable(_first_line(e)) from e
    except (ValueError, KeyError, TypeError) as e:
        raise CheckpointError(f"{repo}: cannot be had from the Hugging Face hub: {_first_line(e)}") from e


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@dataclass
class Repository:
    """A model of the hub at one commit.

    Attributes:
      repo, revision: as the user gave them.
      commit: hash of the commit.
      files: what the hub says of each file: {"size": bytes, "sha256": sum, null for small files outside LFS}.
      headers: {shard: {"data": where its data begin, "header": its header}}, as far as they were asked for.
      first: {shard: {tensor: its first bytes, hexadecimal}}, likewise.
      offline: the hub was out of reach when it was asked, and is not asked again.
      warnings: what the user should know.
    """

    repo: str
    revision: str | None
    commit: str
    files: dict[str, dict[str, Any]]
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: dict[str, dict[str, str]] = field(default_factory=dict)
    offline: bool = False
    warnings: tuple[str, ...] = ()
    _kept_at: float = 0.0
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def folder(self) -> Path:
        """Where its files lie in the hub's cache."""
        return _storage(self.repo) / "snapshots" / self.commit

    def keep(self) -> None:
        """Write down what the hub said; a cache that cannot be written is no reason to fail."""
        said = {"files": self.files, "headers": self.headers, "first": self.first}
        self._kept_at = time.monotonic()
        with contextlib.suppress(OSError), self._lock:
            _write(_storage(self.repo) / "eigensweep" / f"{self.commit}.json", json.dumps(said))

    def download(self, names: Collection[str]) -> None:
        """Bring files into the cache, several at once, with the hub's own progress bars.

        Raises:
          CheckpointError: there is no such file, no access to it, or it is not here and the hub is out of reach.
        """
        if absent := sorted(set(names) - set(self.files)):
            raise CheckpointError(f"{self.repo}: this model on the Hugging Face hub has no {listed(absent)}")
        missing = sorted(name for name in names if not (self.folder / name).is_file())
        if not missing:
            return
        if self.offline:
            raise unreachable(self.repo, self.revision, listed(missing))
        from huggingface_hub import snapshot_download

        patterns = [glob.escape(name) for name in missing]
        try:
            with hub_errors(self.repo, self.revision):
                snapshot_download(
                    self.repo, revision=self.commit, allow_patterns=patterns, max_workers=WORKERS, etag_timeout=SECONDS
                )
        except Unreachable as e:
            raise unreachable(self.repo, self.revision, listed(missing)) from e
        if missing := [name for name in missing if not (self.folder / name).is_file()]:
            raise unreachable(self.repo, self.revision, listed(missing))

    def header(self, name: str) -> tuple[dict[str, Any], int]:
        """The header of a shard, and where its data begin, without the shard itself.

        Raises:
          CheckpointError: it is no .safetensors file; or the hub is out of reach and it was never asked for.
        """
        if name not in self.headers:
            start = self._range(name, 0, _FIRST)
            length = int.from_bytes(start[:8], "little")
            if len(start) < 8 or length > min(_MAX_HEADER, self.files[name]["size"]):
                raise CheckpointError(f"{self.repo}/{name}: truncated or not a safetensors file")
            text = start[8 : 8 + length] if len(start) >= 8 + length else self._range(name, 8, 8 + length)
            try:
                header = json.loads(text)
            except (ValueError, RecursionError) as e:
                raise CheckpointError(f"{self.repo}/{name}: not a safetensors file: its header is no JSON: {e}") from e
            self.headers[name] = {"data": 8 + length, "header": header}
        found = self.headers[name]
        return found["header"], found["data"]

    def first_bytes(self, name: str, tensor: str, begin: int, count: int) -> bytes:
        """The first bytes of a tensor, by a request for that range."""
        known = self.first.setdefault(name, {})
        if tensor not in known:
            known[tensor] = self._range(name, begin, begin + count).hex()
            if time.monotonic() - self._kept_at > _SECONDS_BETWEEN_KEEPING:
                self.keep()
        return bytes.fromhex(known[tensor])

    def _range(self, name: str, begin: int, end: int) -> bytes:
        if self.offline:
            raise unreachable(self.repo, self.revision, name)
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        try:
            with hub_errors(self.repo, self.revision):
                url = hf_hub_url(self.repo, name, revision=self.commit)
                asked = build_hf_headers() | {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
                response = get_session().get(url, headers=asked, timeout=SECONDS)
                hf_raise_for_status(response)
                content: bytes = response.content
        except Unreachable as e:
            raise unreachable(self.repo, self.revision, name) from e
        return content[: end - begin] if response.status_code == 206 else content[begin:end]


def find(repo: str, revision: str | None) -> Repository | None:
    """What the hub has under this name, or what it said when it was last asked; None where only its cache tells.

    Raises:
      CheckpointError: the hub has no such model or revision; or it is out of reach, and so is everything in the cache.
    """
    from huggingface_hub import HfApi

    if revision and ".." in revision.split("/"):
        raise CheckpointError(f"{repo}: {revision!r} is no revision")
    try:
        with hub_errors(repo, revision):
            told = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=SECONDS)
            commit, siblings = told.sha, told.siblings or ()
            if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
                raise ValueError("it names no commit")
            files = {s.rfilename: {"size": s.size, "sha256": s.lfs["sha256"] if s.lfs else None} for s in siblings}
    except Unreachable as e:
        return _from_cache(repo, revision, str(e))
    found = Repository(repo, revision, commit, files, **_kept(repo, commit, ("headers", "first")))
    with contextlib.suppress(OSError):
        _write(_storage(repo) / "refs" / (revision or "main"), commit)
    return found


def cached_commit(repo: str, revision: str | None) -> str | None:
    """The commit that the cache has for a revision."""
    if revision and _COMMIT.fullmatch(revision):
        return revision
    with contextlib.suppress(OSError, ValueError):
        commit = (_storage(repo) / "refs" / (revision or "main")).read_text().strip()
        return commit if _COMMIT.fullmatch(commit) else None
    return None


def cached_folder(repo: str, revision: str | None) -> Path | None:
    """The folder that the cache has for a revision."""
    commit = cached_commit(repo, revision)
    folder = _storage(repo) / "snapshots" / str(commit)
    return folder if commit and folder.is_dir() else None


def _from_cache(repo: str, revision: str | None, why: str) -> Repository | None:
    commit = cached_commit(repo, revision)
    if commit is None or cached_folder(repo, revision) is None:
        raise unreachable(repo, revision, "all of it")
    kept = _kept(repo, commit, ("files", "headers", "first"))
    if "files" not in kept:
        return None
    said = f"the hub cannot be reached ({why}): {repo} is commit {commit} in the cache"
    return Repository(repo, revision, commit, **kept, offline=True, warnings=(said,))


def _kept(repo: str, commit: str, keys: Collection[str]) -> dict[str, Any]:
    try:
        found = json.loads((_storage(repo) / "eigensweep" / f"{commit}.json").read_text())
        return {key: found[key] for key in keys if isinstance(found[key], dict)}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def unreachable(repo: str, revision: str | None, missing: str) -> CheckpointError:
    """The line for what neither the hub nor its cache gives."""
    at = f" at revision {revision!r}" if revision else ""
    return CheckpointError(
        f"{repo}: no such file or folder; as a model of the Hugging Face hub it is{at} not (or not wholly) in the "
        f"cache, and the hub cannot be reached. Offline? Missing: {missing}"
    )


def _storage(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / f"models--{repo.replace('/', '--')}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
