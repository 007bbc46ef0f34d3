"""Tokenizers, through transformers: from a folder or from the hub, never running their code."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.models.data.text import DataError, one_line
from eigensweep.models.errors import CheckpointError, shown
from eigensweep.models.sources.files import stat_regular

# tokens that a model's own tokenizer has at least, as a share of the embedding's rows, some of which are unused
FEWEST_TOKENS = 0.75
_SUFFIXES = (".json", ".jinja", ".model", ".txt")


def load_tokenizer(source: str | Path) -> Any:
    """transformers' AutoTokenizer.

    Args:
      source: a folder with tokenizer files, or a hub id, "owner/name" or "owner/name@revision".

    Returns:
      The transformers tokenizer.

    Raises:
      DataError: it is absent or unreadable, or has no vocabulary (transformers makes an empty one from a lone
        config.json).
    """
    from transformers import AutoTokenizer

    _check_files(Path(source).expanduser())
    name, _, revision = str(source).partition("@")
    if not revision or Path(source).is_dir():
        name, revision = str(source), "main"
    try:  # broken files make the library raise whatever its code trips over
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
        words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    except Exception as error:
        raise DataError(f"no tokenizer could be read from {source}: {one_line(error)}") from error
    longest = getattr(tokenizer, "model_max_length", None)
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int | float) or not longest > 0):
        raise DataError(f"{source}: tokenizer_config.json: model_max_length is {shown(longest)}, a number was expected")
    if not words:
        raise DataError(f"no tokenizer could be read from {source}: it has no vocabulary file (tokenizer.json, …)")
    return tokenizer


def _check_files(folder: Path) -> None:
    """Refuses a folder in which something else than a file bears a tokenizer file's name: a FIFO would be waited for.

    Raises:
      DataError: names it.
    """
    if not folder.is_dir():
        return
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in _SUFFIXES:
                stat_regular(path)
    except (CheckpointError, OSError) as error:
        raise DataError(f"no tokenizer could be read from {folder}: {one_line(error)}") from error


def check_vocabulary(tokenizer: Any, vocab_size: int, model: str = "the model", fewest: float = FEWEST_TOKENS) -> None:
    """Hold the tokenizer's ids against the model's embedding, which may have unused rows at its end.

    Args:
      tokenizer: of `load_tokenizer`.
      vocab_size: rows of the embedding.
      model: its name, for the message.
      fewest: tokens, as a share of the rows, that the model's own tokenizer has at least; 0 allows any tokenizer.

    Raises:
      DataError: the largest id has no row, or the tokens are too few for the rows; names both sizes.
    """
    vocabulary = tokenizer.get_vocab()
    largest = max(vocabulary.values())
    name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
    if largest >= vocab_size:
        raise DataError(
            f"tokenizer and model do not belong together: {name} has ids up to {largest} ({largest + 1} tokens), "
            f"{model} embeds {vocab_size}"
        )
    if len(vocabulary) < fewest * vocab_size:
        raise DataError(
            f"tokenizer and model do not belong together: {name} has {len(vocabulary)} tokens, {model} embeds "
            f"{vocab_size}: this is probably another model's tokenizer"
        )


def token_texts(tokenizer: Any, count: int) -> list[str]:
    """What the tokens 0 to count - 1 stand for, each on its own: " the", "##ing", "<s>".

    A piece that begins a word in SentencePiece ("▁the") has its space, as those of byte-level tokenizers have. A piece
    of less than a character is shown as the tokenizer writes it ("<0xE2>", "âĢ"); a row of the embedding that no token
    has as its number, "[50258]".

    Raises:
      DataError: the tokenizer cannot tell.
    """
    with _naming(f"the tokenizer {getattr(tokenizer, 'name_or_path', '')} cannot say what its tokens are"):
        known = sorted(id_ for id_ in set(tokenizer.get_vocab().values()) if 0 <= id_ < count)
        pieces = dict(zip(known, tokenizer.convert_ids_to_tokens(known), strict=True))
        decoded = tokenizer.batch_decode([[id_] for id_ in known], clean_up_tokenization_spaces=False)
        texts = dict(zip(known, decoded, strict=True))
    return [_token_text(pieces[id_], texts[id_]) if id_ in pieces else f"[{id_}]" for id_ in range(count)]


def _token_text(piece: str, text: str) -> str:
    if not text or "\ufffd" in text:
        return piece
    return f" {text}" if piece.startswith("▁") and not text.startswith(" ") else text


def encode_text(tokenizer: Any, text: str, special_tokens: bool = True) -> np.ndarray:
    """The ids of a whole text, (N,) int32, with the tokenizer's own start or end tokens unless told otherwise.

    Raises:
      DataError: the tokenizer knows no token for a part of the text, and has none for the unknown.
    """
    with _naming(f"the tokenizer {getattr(tokenizer, 'name_or_path', '')} cannot encode the text"):
        ids = tokenizer(text, add_special_tokens=special_tokens, verbose=False)["input_ids"]
    return np.asarray(ids, np.int32)


def encode_pairs(tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, length: int) -> list[dict]:
    """Ids and token types of texts or text pairs, cut to `length`: of a pair, the longer text loses its end first."""
    with _naming(f"the tokenizer {getattr(tokenizer, 'name_or_path', '')} cannot encode the text"):
        coded = tokenizer(
            list(texts),
            None if pairs is None else list(pairs),
            truncation=True,
            max_length=length,
            padding=False,
            return_token_type_ids=True,
            return_attention_mask=False,
            verbose=False,
        )
    return [
        {"input_ids": ids, "type_ids": types}
        for ids, types in zip(coded["input_ids"], coded["token_type_ids"], strict=True)
    ]


def encode_pieces(tokenizer: Any, text: str, length: int) -> list[dict]:
    """A long text in consecutive pieces of at most `length` ids, the special tokens of each included.

    Raises:
      DataError: no room beside the special tokens, or no token in the text.
    """
    room = length - tokenizer.num_special_tokens_to_add()
    if room < 1:
        raise DataError(f"rows of {length} tokens leave no room beside {length - room} special tokens")
    with _naming(f"the tokenizer {getattr(tokenizer, 'name_or_path', '')} cannot encode the text"):
        coded = tokenizer(
            [text],
            truncation=True,
            max_length=length,
            stride=0,
            return_overflowing_tokens=True,
            padding=False,
            verbose=False,
        )
    if len(coded["input_ids"][0]) == length - room:
        raise DataError("the text gives no token")
    return [{"input_ids": ids} for ids in coded["input_ids"]]


def added_bos(tokenizer: Any) -> int | None:
    """The start token that the tokenizer puts before every text by itself; None where it puts none."""
    bos = tokenizer.bos_token_id
    return bos if bos is not None and tokenizer("", verbose=False)["input_ids"][:1] == [bos] else None


@contextmanager
def _naming(message: str) -> Iterator[None]:
    """Turn a tokenizer's failures, whatever its files make the library trip over, into a DataError."""
    try:
        yield
    except Exception as error:
        raise DataError(f"{message}: {one_line(error)}") from error
