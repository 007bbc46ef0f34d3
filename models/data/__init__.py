"""Text for models: tokenizers, readers, rows of fixed shape, windows, masks, batches. Knows no model."""

from eigensweep.models.data.batches import IGNORE, Rows, batches, classification_rows, text_rows
from eigensweep.models.data.errors import DataError
from eigensweep.models.data.masking import mask_tokens
from eigensweep.models.data.tasks import Example, read_boolq, read_labelled, read_wic
from eigensweep.models.data.text import read_hub, read_jsonl, read_jsonl_text, read_text, read_wikitext
from eigensweep.models.data.tokenizer import check_vocabulary, encode_text, load_tokenizer
from eigensweep.models.data.windows import windows

__all__ = [
    "IGNORE",
    "DataError",
    "Example",
    "Rows",
    "batches",
    "check_vocabulary",
    "classification_rows",
    "encode_text",
    "load_tokenizer",
    "mask_tokens",
    "read_boolq",
    "read_hub",
    "read_jsonl",
    "read_jsonl_text",
    "read_labelled",
    "read_text",
    "read_wic",
    "read_wikitext",
    "text_rows",
    "windows",
]
