"""Text for models: tokenizers, readers, rows of fixed shape, windows, masks, batches, splits. Knows no model."""

from eigensweep.models.data.batches import IGNORE, Rows, batches, classification_rows, mask_tokens, text_rows, windows
from eigensweep.models.data.prompts import Prompt, answer_token, answered, prompt_rows, read_prompts
from eigensweep.models.data.rows import FORMATS, DataOptions, read_examples, read_rows
from eigensweep.models.data.split import duplicates, groups_of, split
from eigensweep.models.data.text import (
    DataError,
    Example,
    matched,
    read_boolq,
    read_hub,
    read_jsonl,
    read_jsonl_text,
    read_labelled,
    read_text,
    read_wic,
    read_wikitext,
)
from eigensweep.models.data.tokenizer import added_bos, check_vocabulary, encode_text, load_tokenizer, token_texts

__all__ = [
    "FORMATS", "IGNORE", "DataError", "DataOptions", "Example", "Prompt", "Rows", "added_bos", "answer_token",
    "answered", "batches", "check_vocabulary", "classification_rows", "duplicates", "encode_text", "groups_of",
    "load_tokenizer", "mask_tokens", "matched", "prompt_rows", "read_boolq", "read_examples", "read_hub",
    "read_jsonl", "read_jsonl_text", "read_labelled", "read_prompts", "read_rows", "read_text", "read_wic",
    "read_wikitext", "split", "text_rows", "token_texts", "windows",
]  # fmt: skip
