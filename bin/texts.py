"""The rows of tokens that a config asks for."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.bin.cli import UserError

if TYPE_CHECKING:
    from eigensweep.models import Checkpoint
    from eigensweep.models.data import Rows
    from eigensweep.models.nn import Model

FORMATS = ("text", "wikitext", "jsonl", "passages", "sampled")


def rows_of(
    config: Any, text: str, tokenizer_source: str, checkpoint: "Checkpoint", model: "Model"
) -> "Rows":
    """Rows for a forward pass of `model`.

    Args:
      config: `format` (one of FORMATS), `field` (of JSON lines), `length` tokens a row, `num_rows` (0: all; else so
        many, chosen by `seed`).
      text: the file.
      tokenizer_source: folder or hub id.
      checkpoint: where the model came from, for text that it writes itself.
      model: its functions.

    Raises:
      UserError: an unknown format, no text.
      DataError: a text or tokenizer that does not serve.
    """
    from eigensweep.models import data
    from eigensweep.models.data.text import field

    if config.format not in FORMATS:
        raise UserError(f"config: format is {config.format!r}; expected one of {', '.join(FORMATS)}")
    if config.format != "sampled" and not text:
        raise UserError("no text: give --text=FILE")
    longest = model.architecture.max_positions
    if config.length > longest:
        raise UserError(f"config: length is {config.length} tokens; the model has positions for {longest}")
    tokenizer = data.load_tokenizer(tokenizer_source)
    data.check_vocabulary(tokenizer, model.architecture.vocab_size)
    if config.format == "sampled":
        return _sampled(config, tokenizer, checkpoint)
    if config.format == "passages":  # each row of the file for itself
        texts = [field(row, config.field, f"{text}:{n}") for n, row in data.read_jsonl(text)]
        examples = [data.Example(passage, None, 0) for passage in texts]
        rows = data.classification_rows(tokenizer, examples, config.length)
        rows = rows._replace(targets=np.full_like(rows.input_ids, data.IGNORE))
    else:
        read = {"text": data.read_text, "wikitext": data.read_wikitext}
        whole = (
            data.read_jsonl_text(text, config.field)
            if config.format == "jsonl"
            else read[config.format](text)
        )
        if model.architecture.causal:
            rows = data.windows(data.encode_text(tokenizer, whole), config.length, config.length)
        else:
            rows = data.text_rows(tokenizer, whole, config.length)
    return _some(rows, config.num_rows, config.seed)


def _some(rows: "Rows", num_rows: int, seed: int) -> "Rows":
    """`num_rows` of the rows in the data's order, chosen by the seed; all of them for 0."""
    if not 0 < num_rows < len(rows.row):
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows.row), num_rows, replace=False)
    return rows.take(np.sort(chosen))


def _sampled(config: Any, tokenizer: Any, checkpoint: "Checkpoint") -> "Rows":
    from eigensweep.models import nn
    from eigensweep.models.nn.sample import sample_rows

    if tokenizer.bos_token_id is None:
        raise UserError("config: format is 'sampled', but the tokenizer has no start token to begin with")
    if config.num_rows < 1:
        raise UserError("config: format is 'sampled', which needs num_rows of at least 1")
    model, params = nn.load(checkpoint)
    return sample_rows(model, params, tokenizer.bos_token_id, config.num_rows, config.length, config.seed)
