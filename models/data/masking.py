"""Masked tokens for BERT's loss, drawn once so that every comparison hides the same ones."""

from typing import Any

import numpy as np

from eigensweep.models.data.batches import IGNORE, Rows
from eigensweep.models.data.errors import DataError


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
        raise DataError(
            f"the tokenizer {tokenizer.name_or_path} has no mask token, which the masked-token loss needs"
        )
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
