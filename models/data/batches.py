"""Rows of tokens of one fixed length, and batches of one fixed size: compiled code sees a single shape.

Rows come from labelled examples, from a long text cut into pieces, or from one read in windows; masks hide tokens.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import chex
import numpy as np

from eigensweep.models.data.text import DataError, Example
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


def mask_tokens(rows: Rows, tokenizer: Any, seed: int, probability: float = 0.15) -> Rows:
    """BERT's corruption (Devlin et al. 2019): of the tokens, `probability` become targets.

    Of these 80 % are replaced by the mask token, 10 % by a random one, 10 % stay. Special tokens are never chosen. Each
    row draws from (seed, its number): its masks do not depend on the other rows, their order or the batch. A row
    with tokens has at least one target.

    Raises:
      DataError: the tokenizer has no mask token.
      ValueError: probability not in (0, 1].
    """
    if tokenizer.mask_token_id is None:
        raise DataError(f"the tokenizer {tokenizer.name_or_path} has no mask token, which the masked-token loss needs")
    if not 0.0 < probability <= 1.0:
        raise ValueError(f"probability: expected a value in (0, 1], got {probability}")
    special = np.asarray(sorted(set(tokenizer.all_special_ids)), np.int32)
    words = np.setdiff1d(np.fromiter(tokenizer.get_vocab().values(), np.int32), special)
    ids, targets = rows.input_ids.copy(), np.full(rows.input_ids.shape, IGNORE, np.int32)
    for i, index in enumerate(rows.row):
        if index < 0:
            continue
        generator = np.random.default_rng((seed, int(index)))
        draw, fate = generator.random((2, ids.shape[1]))
        word = generator.choice(words, ids.shape[1])
        free = rows.attention_mask[i] & ~np.isin(ids[i], special)
        if not free.any():
            continue
        chosen = free & (draw < probability)
        if not chosen.any():
            chosen[np.argmin(np.where(free, draw, 2.0))] = True
        targets[i, chosen] = ids[i, chosen]
        ids[i] = np.where(chosen & (fate < 0.8), tokenizer.mask_token_id, ids[i])
        ids[i] = np.where(chosen & (fate >= 0.9), word, ids[i])
    return rows._replace(input_ids=ids, targets=targets)


def windows(tokens: np.ndarray, length: int, stride: int, bos: int | None = None) -> Rows:
    """Windows of `length` tokens, each `stride` further on, that score only tokens no earlier window has scored.

    As in transformers' guide "Perplexity of fixed-length models": a window from `begin` to `end` scores the tokens
    after the previous window's end, but not its own first token where nothing in it predicts that. The last window may
    be shorter and is padded on the right. A stride beyond the length leaves text out: whole windows that far apart.

    Args:
      tokens: (N,) ids of the whole text; with `bos`, without a start token of its own.
      length: tokens a window, at most the model's number of positions.
      stride: at least 1. The smaller, the more context each token has, and the more windows there are.
      bos: begin every window with this token, so that it holds one token of the text less; a stride of `length` then
        means windows that abut. The text's very first token is scored; any other window's first is not, because the
        start token says that a text begins there.

    Returns:
      Rows whose `targets[i, t]` is the token after `input_ids[i, t]` where it is scored.

    Raises:
      DataError: the text is shorter than one window.
      ValueError: length < 2, stride < 1.
    """
    chex.assert_rank(tokens, 1)
    ahead = 0 if bos is None else 1
    num, room = len(tokens), length - ahead
    if length < 2:
        raise ValueError(f"length: expected at least 2, got {length}")
    if stride < 1:
        raise ValueError(f"stride: expected at least 1, got {stride}")
    if num < room:
        raise DataError(
            f"the text has {num} tokens, fewer than one window of {length}: give more text or a window of at most "
            f"{num + ahead}"
        )
    stride = room if stride == length else stride
    begins = range(0, num - room + (1 if stride > room else stride), stride)
    ids = np.zeros((len(begins), length), np.int32)
    mask, targets = np.zeros(ids.shape, bool), np.full(ids.shape, IGNORE, np.int32)
    if bos is not None:
        ids[:, 0], mask[:, 0] = bos, True
    scored = 1 - ahead  # tokens before this one are scored already
    for i, begin in enumerate(begins):
        end = min(begin + room, num)
        held = slice(ahead, ahead + end - begin)
        ids[i, held], mask[i, held] = tokens[begin:end], True
        first = max(scored, begin + 1) if begin else scored
        targets[i, first - 1 - begin + ahead : end - 1 - begin + ahead] = tokens[first:end]
        scored = end
    return Rows(ids, mask, np.zeros_like(ids), targets, np.arange(len(begins), dtype=np.int32))
