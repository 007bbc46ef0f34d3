"""Rows of tokens of one fixed length, and batches of one fixed size: compiled code sees a single shape."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from eigensweep.models.data.errors import DataError
from eigensweep.models.data.tasks import Example
from eigensweep.models.data.tokenizer import encode_pairs, encode_pieces

IGNORE = -100
"""The target of a token that is not scored."""


class Rows(NamedTuple):
    """N rows of T tokens; also one batch of them.

    Attributes:
      input_ids: (N, T) int32; padding is 0.
      attention_mask: (N, T) bool, True for tokens.
      type_ids: (N, T) int32, 1 for the second text of a pair.
      targets: (N, T) int32, the token that the logits at that place should predict, IGNORE elsewhere; or (N,) int32
        class labels. IGNORE in rows that only fill up a batch.
      row: (N,) int32, which row of the data it is; -1 for one that only fills up a batch.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    type_ids: np.ndarray
    targets: np.ndarray
    row: np.ndarray

    def take(self, order: np.ndarray) -> "Rows":
        """Those rows, in that order."""
        return Rows(*(array[order] for array in self))


def batches(rows: Rows, batch_size: int, seed: int | None = None) -> Iterator[Rows]:
    """Every row once, in batches of exactly `batch_size`.

    Args:
      rows: the data.
      batch_size: rows a batch. The last batch is filled up with rows of padding alone, row -1, nothing to predict.
      seed: shuffles by it (the same order on every machine); None: the order of the data.

    Raises:
      ValueError: batch_size < 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    order = np.arange(len(rows.input_ids))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    for start in range(0, len(order), batch_size):
        yield _filled(rows.take(order[start : start + batch_size]), batch_size)


def _filled(rows: Rows, batch_size: int) -> Rows:
    short = batch_size - len(rows.input_ids)
    fill = Rows(0, False, 0, IGNORE, -1)  # type: ignore[arg-type]
    return Rows(
        *(
            np.concatenate((array, np.full((short, *array.shape[1:]), value, array.dtype)))
            for array, value in zip(rows, fill, strict=True)
        )
    )


def pack(coded: Sequence[dict[str, Any]], targets: np.ndarray, length: int) -> Rows:
    """Rows of `length` tokens from lists of ids (and token types), padded on the right."""
    ids = np.zeros((len(coded), length), np.int32)
    types, mask = np.zeros_like(ids), np.zeros(ids.shape, bool)
    for i, row in enumerate(coded):
        num = len(row["input_ids"])
        ids[i, :num], types[i, :num], mask[i, :num] = row["input_ids"], row.get("type_ids", 0), True
    return Rows(ids, mask, types, targets, np.arange(len(coded), dtype=np.int32))


def classification_rows(tokenizer: Any, examples: Sequence[Example], length: int) -> Rows:
    """Texts or pairs as the tokenizer joins them, cut to `length` tokens; targets are the labels.

    Raises:
      DataError: no examples, a mixture of texts and pairs, or no room in `length` beside the special tokens.
    """
    with_pair = [example.pair is not None for example in examples]
    if not examples or any(with_pair) != all(with_pair):
        raise DataError("expected examples that are all texts or all pairs of texts, and at least one")
    pairs = [example.pair or "" for example in examples] if all(with_pair) else None
    coded = encode_pairs(tokenizer, [example.text for example in examples], pairs, length)
    longest = max(len(row["input_ids"]) for row in coded)
    if longest > length:
        raise DataError(f"length {length} leaves no room for text beside the special tokens")
    return pack(coded, np.array([example.label for example in examples], np.int32), length)


def text_rows(tokenizer: Any, text: str, length: int) -> Rows:
    """A long text cut into rows of `length` tokens, each with the tokenizer's start and end tokens; the last is padded.

    Nothing is a target yet: see `mask_tokens`.

    Raises:
      DataError: the text gives no token, or `length` leaves no room beside the special tokens.
    """
    coded = encode_pieces(tokenizer, text, length)
    return pack(coded, np.full((len(coded), length), IGNORE, np.int32), length)
