"""What edits do to the next token of prompts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from eigensweep.engine.studies.editing.edits import Edit
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint, nn
from eigensweep.models.data import DataError
from eigensweep.models.data.tokenizer import encode_text
from eigensweep.models.data.words import encode_words
from eigensweep.models.errors import shown


@dataclass(frozen=True)
class Prompts:
    """Prompts, and of each the tokens whose probability to come next is looked at.

    Attributes:
      texts: as given.
      ids: (P, T) padded on the right; mask: (P, T).
      row, token: (N,) of every pair of a prompt and a next token.
      words: (N,) the next tokens as given.
    """

    texts: tuple[str, ...]
    ids: np.ndarray
    mask: np.ndarray
    row: np.ndarray
    token: np.ndarray
    words: tuple[str, ...]


def encode_prompts(tokenizer: Any, texts: Sequence[str], nexts: Sequence[str], most: int) -> Prompts:
    """Prompts and their next tokens; a next word of several tokens counts by its first.

    Args:
      nexts: comma-separated words, for each prompt, or one for all.
      most: tokens of a prompt that the model has positions for.

    Raises:
      DataError: an empty prompt or one that is too long, words without tokens.
      RunError: the numbers of prompts and of next words do not fit.
    """
    if not nexts:
        raise RunError("no --next given: which next tokens should be looked at after the prompts?")
    if len(nexts) not in (1, len(texts)):
        raise RunError(f"{len(texts)} prompts and {len(nexts)} lists of next tokens: expected one for all, or one each")
    rows = [encode_text(tokenizer, text) for text in texts]
    for text, ids in zip(texts, rows, strict=True):
        if not len(ids):
            raise DataError(f"the prompt {shown(text)} has no tokens")
        if len(ids) > most:
            raise DataError(f"the prompt {shown(text)} has {len(ids)} tokens; the model has positions for {most}")
    words = [encode_words(tokenizer, text) for text in (nexts if len(nexts) > 1 else [*nexts] * len(texts))]
    pairs = [(row, ids[0], word) for row, found in enumerate(words) for word, ids in found.items()]
    row, token, named = zip(*pairs, strict=True)
    longest = max(map(len, rows))
    ids = np.array([np.pad(x, (0, longest - len(x))) for x in rows], np.int32)
    mask = np.array([np.arange(longest) < len(x) for x in rows])
    return Prompts(tuple(texts), ids, mask, np.array(row), np.array(token), named)


class Predictor:
    """The next-token logits of prompts under a causal model with edits."""

    def __init__(self, checkpoint: Checkpoint, prompts: Prompts, dtype: str, param_dtype: str):
        self._checkpoint, self._prompts = checkpoint, prompts
        self._model, self._params = nn.load(checkpoint, dtype, None, param_dtype or None)

    def logits(self, edit: Edit | None = None) -> np.ndarray:
        """(P, vocab) float64 behind the last token of each prompt."""
        params = self._params
        if edit is not None:
            params = nn.with_matrices(params, self._checkpoint, edit.matrices, edit.vectors)
        output = self._model.apply(params, self._prompts.ids, self._prompts.mask, head="unembedding")
        last = self._prompts.mask.sum(axis=1) - 1
        return np.asarray(output.logits, np.float64)[np.arange(len(last)), last]


def check_causal(checkpoint: Checkpoint) -> None:
    """Refuse what predicts no next token.

    Raises:
      RunError: an encoder, or a model without its head.
    """
    model = nn.model_of(checkpoint)
    if not model.architecture.causal or model.head() != "unembedding":
        raise RunError(
            f"{checkpoint.source.name}: effects on prompts need the head of a causal language model, which this has "
            "not; leave out --prompt"
        )


def log_probabilities(logits: np.ndarray, prompts: Prompts) -> np.ndarray:
    """(N,) of the pairs of prompt and next token, nats."""
    return np.asarray(jax.nn.log_softmax(logits, axis=-1))[prompts.row, prompts.token]


def changes(
    predictor: Predictor, prompts: Prompts, before: np.ndarray, edits: Iterable[Edit]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of every edit the changes (N,) of the log-probabilities and (P, vocab) of the logits."""
    known = log_probabilities(before, prompts)
    for edit in edits:
        logits = predictor.logits(edit)
        yield log_probabilities(logits, prompts) - known, logits - before
