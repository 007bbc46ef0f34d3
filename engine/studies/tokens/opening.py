"""From options to what tests directions: descriptions and frequencies of the tokens."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from eigensweep.engine.spectral.npmi import occurrences
from eigensweep.engine.studies.data import tokenizer_of
from eigensweep.engine.studies.tokens.descriptions import Description, Meetings, Vectors, encoded
from eigensweep.engine.studies.tokens.judging import Frequency
from eigensweep.engine.studies.tokens.options import TokensOptions
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint, open_checkpoint
from eigensweep.models.circuits import Projection, open_projection
from eigensweep.models.data import encode_text, read_jsonl_text, read_text

MOST_TOKENS = 4096  # whose frequency is compared: the correlation's own error is then 0.016
_WINDOW = 32  # tokens of the text that count as one place


def text_ids(checkpoint: Checkpoint, options: TokensOptions) -> np.ndarray | None:
    """The tokens (N,) of the text that the options name; None without one.

    Raises:
      DataError: the text or the tokenizer cannot be read.
    """
    if not options.data:
        return None
    text = read_jsonl_text(options.data, options.field) if options.data.endswith(".jsonl") else read_text(options.data)
    return encode_text(tokenizer_of(checkpoint, options.tokenizer), text, special_tokens=False)


def described_by(checkpoint: Checkpoint, options: TokensOptions, ids: np.ndarray | None) -> dict[str, Any]:
    """What tells descriptions and frequencies from others, for a run's identity.

    Raises:
      CheckpointError: the encoder cannot be opened.
    """
    found: dict[str, Any] = {}
    if ids is not None:
        found["data_sha256"] = hashlib.sha256(np.ascontiguousarray(ids, np.int64).tobytes()).hexdigest()
    if options.description == "encoder":
        found["encoder"] = open_checkpoint(options.encoder).identity["sha256"]
    return found


def description_of(
    checkpoint: Checkpoint, options: TokensOptions, text: Sequence[str] | None, ids: np.ndarray | None, vocab: int
) -> Description:
    """What the options say is to describe tokens.

    Args:
      text: of every token; ids: of the text that the options name.
      vocab: number of tokens.

    Raises:
      CheckpointError, DataError, RunError: it cannot be had.
    """
    if options.description == "embedding":
        return Vectors.of(open_projection(checkpoint, "embedding", options.fold).rows())
    if options.description == "encoder":
        assert text is not None
        return Vectors.of(encoded([word.strip() for word in text], options.encoder))
    assert ids is not None
    if ids.max() >= vocab:
        raise RunError(f"{options.data}: has the token {ids.max()}; the model has {vocab}")
    return Meetings(occurrences(ids, vocab, _WINDOW))


def frequency_of(projections: Sequence[Projection], ids: np.ndarray | None) -> Frequency:
    """Tokens that occur, evenly over their frequencies; without a text all tokens, by their number."""
    vocab = min(projection.vocab_size for projection in projections)
    counts = -np.arange(vocab) if ids is None else np.bincount(ids[ids < vocab], minlength=vocab)
    order = np.argsort(counts, kind="stable")
    order = order if ids is None else order[counts[order] > 0]
    picked = order[np.unique(np.linspace(0, len(order) - 1, min(MOST_TOKENS, len(order))).round().astype(int))]
    return Frequency(picked, counts[picked])
