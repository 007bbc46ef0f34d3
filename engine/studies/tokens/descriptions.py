"""What says what a token is: rows of the model's own embedding, a sentence encoder's vectors, or where tokens meet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from eigensweep.engine.spectral import coherence
from eigensweep.engine.spectral.npmi import Occurrences, mean_npmi
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import data, nn, open_checkpoint

_LENGTHS = (4, 8, 16)  # tokens of a token's text, by which batches are compiled; longer texts are cut
_BATCH = 512


class Description(Protocol):
    """Tells how coherent sets of tokens are."""

    def __call__(self, ids: NDArray) -> tuple[NDArray[np.float64], NDArray | None]:
        """Coherence (N,) of N sets (N, k), NaN where nothing is known of a set; and their centroids (N, D) of any
        length, None where tokens are no vectors."""
        ...


@dataclass(frozen=True)
class Vectors:
    """A unit vector a token (vocab, D): coherence is the mean pairwise cosine."""

    rows: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray) -> "Vectors":
        """Of any rows: about their mean, each of length 1."""
        return cls(coherence.descriptions(rows))

    def __call__(self, ids: NDArray) -> tuple[NDArray[np.float64], NDArray]:
        summed = coherence.sums(self.rows, ids)
        return coherence.mean_cosine(summed, ids.shape[1]), summed


@dataclass(frozen=True)
class Meetings:
    """A text in which tokens meet or do not: coherence is the mean pairwise NPMI."""

    seen: Occurrences

    def __call__(self, ids: NDArray) -> tuple[NDArray[np.float64], None]:
        return mean_npmi(self.seen, np.asarray(ids)), None


def encoded(texts: Sequence[str], source: str) -> NDArray[np.float32]:
    """A sentence encoder's vector of every text: the mean over its tokens' last hidden states.

    Args:
      texts: of the tokens.
      source: the encoder's folder or hub id, with its tokenizer.

    Returns:
      (N, D).

    Raises:
      CheckpointError, DataError: it cannot be opened, or has no forward pass here.
      RunError: it is no encoder.
    """
    checkpoint = open_checkpoint(source)
    model, params = nn.load(checkpoint)
    if model.architecture.causal:
        raise RunError(f"{source}: is a decoder, whose states know only what stands before; expected an encoder")
    tokenizer = data.load_tokenizer(source)
    rows = data.classification_rows(tokenizer, [data.Example(text, None, 0) for text in texts], _LENGTHS[-1])
    lengths = rows.attention_mask.sum(axis=1)

    @jax.jit
    def vectors(params: Any, ids: Any, mask: Any, types: Any) -> Any:
        hidden = model.apply(params, ids, mask, type_ids=types, head=None).hidden
        return (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1)[:, None].clip(1)

    found = np.zeros((len(texts), model.architecture.width), np.float32)
    low = 0
    for length in _LENGTHS:
        chosen = np.flatnonzero((lengths > low) & (lengths <= length))
        low = length
        cut = data.Rows(*(x[chosen, :length] if x.ndim == 2 else x[chosen] for x in rows))
        for batch in data.batches(cut, min(_BATCH, max(1, len(chosen)))) if len(chosen) else ():
            real = batch.row >= 0
            y = vectors(params, batch.input_ids, batch.attention_mask, batch.type_ids)
            found[batch.row[real]] = np.asarray(y)[real]
    return found
