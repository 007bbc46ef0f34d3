"""A model on the Hugging Face hub: only the files that are needed, through the hub's own cache.

What comes: the config, the tokenizer, and the weights that a folder would be read from, safetensors before pickles.
Never code, never the same weights in a second format.
"""

import glob
import re
from pathlib import Path

from eigensweep.models.errors import CheckpointError, listed
from eigensweep.models.sources.choice import (
    ADAPTER_CONFIG,
    ADAPTER_TORCH_WEIGHTS,
    ADAPTER_WEIGHTS,
    CONFIG,
    INDEX,
    TORCH_INDEX,
    TORCH_WEIGHTS,
    WEIGHTS,
)
from eigensweep.models.sources.files import check_name
from eigensweep.models.sources.folder import read_index_names

_ID = re.compile(r"([A-Za-z0-9_][\w.-]*(?:/[\w.-]+)?)(?:@([\w./-]+))?")

SMALL_FILES = (
    *(CONFIG, ADAPTER_CONFIG, INDEX, TORCH_INDEX, "generation_config.json"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.*", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
    *("chat_template.jinja", "chat_template.json"),
)
"""What is fetched beside the weights, as patterns: what names the architecture, and every kind of tokenizer."""


def looks_like_hub_id(text: str) -> bool:
    """Whether text has the form `owner/name` or `name`, perhaps with `@revision`."""
    return _ID.fullmatch(text) is not None and not text.endswith((".safetensors", ".bin", ".pt", ".ckpt"))


def _snapshot(repo: str, revision: str | None, patterns: list[str]) -> Path:
    """The repository's folder in the cache, with the files that match; offline with those that were fetched before.

    Raises:
      CheckpointError: no such repository or revision, or the cache has nothing of it and the hub is out of reach.
    """
    from huggingface_hub import errors, snapshot_download

    try:
        try:
            return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
        except errors.LocalEntryNotFoundError:
            # Out of reach: the cache may have enough, though not all of the patterns.
            return Path(snapshot_download(repo, revision=revision, allow_patterns=[], local_files_only=True))
    except errors.LocalEntryNotFoundError as e:
        raise _unreachable(repo, revision, CONFIG) from e
    except errors.RepositoryNotFoundError as e:
        raise CheckpointError(
            f"{repo}: no such file or folder, and no such model on the Hugging Face hub; if it is private or gated, "
            f"log in (`hf auth login`)"
        ) from e
    except errors.RevisionNotFoundError as e:
        raise CheckpointError(f"{repo}: this model on the Hugging Face hub has no revision {revision!r}") from e
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise CheckpointError(f"{repo}: cannot be had from the Hugging Face hub: {reason}") from e


def _unreachable(repo: str, revision: str | None, missing: str) -> CheckpointError:
    at = f" at revision {revision!r}" if revision else ""
    return CheckpointError(
        f"{repo}: no such file or folder; as a model of the Hugging Face hub it is{at} not (or not wholly) in the "
        f"cache, and the hub cannot be reached. Offline? Missing: {missing}"
    )


def _weights(folder: Path) -> list[list[str]]:
    """The sets of files that may hold the weights, best first, as far as config and indices tell."""

    def shards(index: str, single: str) -> list[str]:
        if not (folder / index).is_file():
            return [single]
        names = sorted(read_index_names(folder / index))
        for name in names:
            check_name(folder / index, name)
        return names

    adapter = [[ADAPTER_WEIGHTS], [ADAPTER_TORCH_WEIGHTS]] if (folder / ADAPTER_CONFIG).is_file() else []
    return [shards(INDEX, WEIGHTS), *adapter, shards(TORCH_INDEX, TORCH_WEIGHTS)]


def fetch(text: str) -> Path:
    """Brings what a checkpoint needs into the hub's cache: config, tokenizer, and weights or an adapter.

    Args:
      text: `owner/name` or `owner/name@revision`.

    Returns:
      The folder in the cache, laid out as the repository.

    Raises:
      CheckpointError: no such model, no weights, or the hub cannot be reached and the cache has it not.
    """
    from huggingface_hub import errors, hf_hub_download

    match = _ID.fullmatch(text)
    assert match, text
    repo, revision = match[1], match[2]
    folder = _snapshot(repo, revision, [*SMALL_FILES])
    missing: list[list[str]] = []
    for files in _weights(folder):
        # The small files again: should the branch have moved meanwhile, all are of the new commit.
        folder = _snapshot(repo, revision, [*SMALL_FILES, *map(glob.escape, files)])
        missing.append([file for file in files if not (folder / file).is_file()])
        if not missing[-1]:
            return folder
    names = " or ".join(map(listed, missing))
    try:  # not for the file: for the reason why it is not there
        hf_hub_download(repo, missing[0][0], revision=folder.name)
    except errors.LocalEntryNotFoundError as e:
        raise _unreachable(repo, revision, names) from e
    except errors.HfHubHTTPError:
        pass
    raise CheckpointError(f"{repo}: this model on the Hugging Face hub has no {names}")
