"""Strided windows for perplexity, as the guide "Perplexity of fixed-length models" of transformers defines them."""

import numpy as np

from eigensweep.models.data.batches import IGNORE, Rows
from eigensweep.models.data.errors import DataError


def windows(tokens: np.ndarray, length: int, stride: int) -> Rows:
    """Windows of `length` tokens, each `stride` further on, that score only tokens no earlier window has scored.

    A window from `begin` to `end` scores the tokens after the previous window's end; the first one scores all but its
    first token, which nothing predicts. The last window may be shorter and is padded on the right.

    Args:
      tokens: (N,) ids of the whole text.
      length: tokens a window, at most the model's number of positions.
      stride: 1 to `length`. The smaller, the more context each token has, and the more windows there are.

    Returns:
      Rows whose `targets[i, t]` is the token after `input_ids[i, t]` where it is scored.

    Raises:
      DataError: the text is shorter than one window.
      ValueError: length < 2, or stride out of range.
    """
    num = len(tokens)
    if length < 2:
        raise ValueError(f"length: expected at least 2, got {length}")
    if not 1 <= stride <= length:
        raise ValueError(f"stride: expected 1 to the window's {length} tokens, got {stride}")
    if num < length:
        raise DataError(
            f"the text has {num} tokens, fewer than one window of {length}: give more text or a window of at most {num}"
        )
    begins = range(0, num - length + stride, stride)
    ids = np.zeros((len(begins), length), np.int32)
    mask, targets = np.zeros(ids.shape, bool), np.full(ids.shape, IGNORE, np.int32)
    scored = 1  # tokens before this one are scored already; token 0 never is
    for i, begin in enumerate(begins):
        end = min(begin + length, num)
        ids[i, : end - begin], mask[i, : end - begin] = tokens[begin:end], True
        first = max(
            scored, begin + 1
        )  # where stride = length, nothing in the window predicts its first token
        targets[i, first - 1 - begin : end - 1 - begin] = tokens[first:end]
        scored = end
    return Rows(ids, mask, np.zeros_like(ids), targets, np.arange(len(begins), dtype=np.int32))
