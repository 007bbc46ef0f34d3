"""Prompts and their answers as rows of a causal language model: what is learned, and measured, is the answer alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.models.data.batches import IGNORE, Rows, pack
from eigensweep.models.data.text import DataError, field, read_jsonl
from eigensweep.models.data.tokenizer import encode_text
from eigensweep.models.errors import shown


@dataclass(frozen=True)
class Prompt:
    """A prompt and its answer; `where` is its file and line."""

    text: str
    answer: str
    where: str


def read_prompts(path: str | Path) -> list[Prompt]:
    """JSON lines with the texts "prompt" and "answer"; what stands between the two belongs to one of them.

    Raises:
      DataError: naming file and line, where one of them is missing or no text.
    """
    found = []
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        found.append(Prompt(field(row, "prompt", where), field(row, "answer", where), where))
    return found


def prompt_rows(tokenizer: Any, prompts: Sequence[Prompt], length: int) -> Rows:
    """A row a prompt: its tokens, as the tokenizer begins a text, then the answer's, which alone are targets.

    Returns:
      Rows whose `targets[i, t]` is the token after `input_ids[i, t]` where that one is the answer's. The answer's last
      token is only a target: nothing comes after it.

    Raises:
      DataError: naming file and line: nothing to answer to, no answer, or more tokens than a row has room for.
    """
    coded, answers = [], []
    for prompt in prompts:
        try:
            before = _opened(tokenizer, prompt.text)
            after = encode_text(tokenizer, prompt.answer, special_tokens=False)
        except DataError as error:
            raise DataError(f"{prompt.where}: {error}") from error
        if not before.size or not after.size:
            raise DataError(f"{prompt.where}: the {'answer' if before.size else 'prompt'} has no token")
        if (num := before.size + after.size - 1) > length:
            raise DataError(
                f"{prompt.where}: prompt and answer are {before.size} + {after.size} tokens, and a row has room for "
                f"{length + 1}: shorten them, or give a larger length"
            )
        coded.append({"input_ids": np.concatenate((before, after))[:num]})
        answers.append((before.size - 1, after))
    targets = np.full((len(coded), length), IGNORE, np.int32)
    for row, (first, after) in zip(targets, answers, strict=True):
        row[first : first + after.size] = after
    return pack(coded, targets, length)


def answer_token(tokenizer: Any, text: str) -> int:
    """The one token that a text is.

    Raises:
      DataError: it is none, or several, which are named.
    """
    ids = encode_text(tokenizer, text, special_tokens=False)
    name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
    if ids.size == 1:
        if tokenizer.decode(ids).strip().casefold() != text.strip().casefold():
            raise DataError(f"the answer {shown(text)} is unknown to {name}: give a text that it has a token for")
        return int(ids[0])
    pieces = ", ".join(shown(tokenizer.decode([i])) for i in ids[:8]) + (", …" if ids.size > 8 else "")
    raise DataError(f"the answer {shown(text)} is {ids.size} tokens of {name} ({pieces}), and one is expected")


def answered(rows: Rows, token: int, seed: int) -> Rows:
    """Windows of a text as prompts of any length, all with the same answer of one token.

    Of every window the first k tokens are the prompt, k drawn from 1 to as many as it has; the target is `token`,
    at the last of them. A draw belongs to (seed, the row's number), whatever the batch.
    """
    mask, targets = rows.attention_mask.copy(), np.full_like(rows.targets, IGNORE)
    for i, number in enumerate(rows.row):
        k = int(np.random.default_rng((seed, int(number))).integers(1, int(rows.attention_mask[i].sum()) + 1))
        mask[i, k:] = False
        targets[i, k - 1] = token
    return rows._replace(input_ids=np.where(mask, rows.input_ids, 0), attention_mask=mask, targets=targets)


def _opened(tokenizer: Any, text: str) -> np.ndarray:
    """The ids of a text that goes on: with the tokenizer's start token, without an end token of its own."""
    ids = encode_text(tokenizer, text)
    end = getattr(tokenizer, "eos_token_id", None)
    return ids[:-1] if ids.size > 1 and end is not None and ids[-1] == end else ids
