"""Words that a user types, as a tokenizer has them inside a sentence."""

from typing import Any

from eigensweep.models.data.text import DataError
from eigensweep.models.data.tokenizer import encode_text
from eigensweep.models.errors import listed, shown


def encode_words(tokenizer: Any, text: str) -> dict[str, tuple[int, ...]]:
    """The ids of comma-separated words, each as it stands behind a space, where the tokenizer joins the two.

    Args:
      tokenizer: of `load_tokenizer`.
      text: "fire, flame, burning".

    Returns:
      The ids of every word, in the order given.

    Raises:
      DataError: there is no word, or the tokenizer does not know one of them; all of those are named.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise DataError(f"{shown(text)} names no word; expected words between commas, such as 'fire, flame, burning'")
    found = {word: _ids(tokenizer, word) for word in words}
    if unknown := [shown(word) for word, ids in found.items() if not ids]:
        name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
        raise DataError(f"{name} has no tokens for {listed(unknown)}")
    return found


def _ids(tokenizer: Any, word: str) -> tuple[int, ...]:
    """A word's ids, () where a part of it is unknown; without the tokens of the space alone, where that has its own."""
    for text in (f" {word}", word):
        try:
            ids = encode_text(tokenizer, text, special_tokens=False).tolist()
        except DataError:
            continue
        while ids and not tokenizer.decode(ids[:1]).strip():
            ids.pop(0)
        if ids and tokenizer.unk_token_id not in ids:
            return tuple(ids)
    return ()
