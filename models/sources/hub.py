"""A model on the Hugging Face hub: only the files that are needed, through the hub's own cache."""

import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from eigensweep.models.sources.folder import INDEX, WEIGHTS, check_name, read_index_names
from eigensweep.models.sources.torch_file import ADAPTER_TORCH_WEIGHTS, TORCH_INDEX, TORCH_WEIGHTS

_ID = re.compile(r"([A-Za-z0-9_][\w.-]*(?:/[\w.-]+)?)(?:@([\w./-]+))?")

PROBE_SECONDS = 10.0


def looks_like_hub_id(text: str) -> bool:
    """Whether text has the form `owner/name` or `name`, perhaps with `@revision`."""
    return _ID.fullmatch(text) is not None and not text.endswith((".safetensors", ".bin", ".pt", ".ckpt"))


def _is_unreachable() -> bool:
    """Whether the hub is known at once to be out of reach: huggingface_hub itself tries for half a minute a file."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return False
    except urllib.error.URLError as e:
        return isinstance(e.reason, socket.gaierror | TimeoutError | ConnectionError)
    except OSError:
        return True


class _Repository:
    def __init__(self, repo: str, revision: str | None):
        self.repo, self.revision = repo, revision
        self.unreachable = _is_unreachable()

    def get(self, file: str) -> Path | None:
        """The file in the cache; None where the repository has no such file, or cannot be reached to tell."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        try:
            path = Path(
                hf_hub_download(self.repo, file, revision=self.revision, local_files_only=self.unreachable)
            )
        except LocalEntryNotFoundError:
            self.unreachable = True
            return None
        except EntryNotFoundError:
            return None
        except RepositoryNotFoundError as e:
            raise CheckpointError(
                f"{self.repo}: no such file or folder, and no such model on the Hugging Face hub; if it is private "
                f"or gated, log in (`hf auth login`)"
            ) from e
        except (HfHubHTTPError, HFValidationError, OSError) as e:
            raise CheckpointError(f"{self.repo}: {file} cannot be had from the Hugging Face hub: {e}") from e
        self.revision = path.relative_to(path.parents[len(Path(file).parts)]).parts[
            0
        ]  # stay with this commit
        return path

    def need(self, *files: str) -> Path:
        """The first of the files that is there."""
        for file in files:
            if path := self.get(file):
                return path
        if self.unreachable:
            raise CheckpointError(
                f"{self.repo}: no such file or folder; as a model of the Hugging Face hub it is not (or not wholly) in "
                f"the cache, and the hub cannot be reached. Offline? Missing: {' or '.join(files)}"
            )
        raise CheckpointError(f"{self.repo}: this model on the Hugging Face hub has no {' or '.join(files)}")


def fetch(text: str) -> Path:
    """Brings what a checkpoint needs into the hub's cache: config, weights, or an adapter.

    Args:
      text: `owner/name` or `owner/name@revision`.

    Returns:
      The folder in the cache, laid out as the repository.

    Raises:
      CheckpointError: no such model, no weights, or the hub cannot be reached and the cache has it not.
    """
    match = _ID.fullmatch(text)
    assert match, text
    repository = _Repository(match[1], match[2])
    config, adapter = repository.get("config.json"), repository.get(ADAPTER_CONFIG)
    if adapter:
        repository.need(ADAPTER_WEIGHTS, ADAPTER_TORCH_WEIGHTS)
        return adapter.parent
    if not config and repository.unreachable:
        repository.need("config.json")
    index = repository.get(INDEX)
    weights = index or repository.get(WEIGHTS)
    if not weights:
        index = repository.get(TORCH_INDEX)
        weights = index or repository.need(WEIGHTS, TORCH_WEIGHTS)
    if index:
        for shard in read_index_names(index):
            check_name(index, shard)
            repository.need(shard)
    return weights.parent
