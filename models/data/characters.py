"""A tokenizer that knows the characters of one text, each a token: enough to train a small model from nothing."""

import json
from pathlib import Path
from typing import Any

from eigensweep.models.data.text import DataError

MOST = 10_000  # different characters


def write_character_tokenizer(text: str, folder: Path) -> int:
    """Write `folder`/tokenizer.json and tokenizer_config.json; the characters are numbered in their own order.

    Returns:
      How many characters there are.

    Raises:
      DataError: there are none, or so many that this is no text.
    """
    characters = sorted(set(text))
    if not 0 < len(characters) <= MOST:
        raise DataError(f"the text has {len(characters)} different characters; expected 1 to {MOST}")
    pieces = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
    model = {"type": "WordLevel", "vocab": {c: i for i, c in enumerate(characters)}, "unk_token": characters[0]}
    content: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": pieces, "post_processor": None, "decoder": {"type": "Fuse"}, "model": model,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(characters)
