"""The token-token covariance of the data that a facts study reads, and of the same tokens without their order."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.engine.spectral import token_covariance
from eigensweep.engine.studies.data import TextFields, tokenizer_of
from eigensweep.engine.studies.facts.ranks import rank_row
from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, TRUTH, Column
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint
from eigensweep.models.data import Rows, read_rows
from eigensweep.models.data.rows import TEXTS
from eigensweep.models.nn import Model

TOP = 512  # eigenvalues, where not all can be had
ORDERS = ("text", "shuffled")

DATASET = {
    "data": Column(TEXT, "", "the file"),
    "order": Column(TEXT, "", "text: sequences as they are; shuffled: the same tokens dealt out at random"),
    "presence": Column(TRUTH, "", "c says whether a token stands in a sequence, not how often"),
    "num_sequences": Column(COUNT, "", "N, all of one length, side by side in the text"),
    "length": Column(COUNT, "", "tokens of a sequence"),
    "num_tokens": Column(COUNT, "", "different tokens in them"),
    "method": Column(TEXT, "", "tokens: C whole; sequences: its dual (N, N); lanczos: the largest evals alone"),
    "total": Column(FLOAT, "", "trace of C"),
    "evals": Column(
        LIST, "", "eigenvalues of C = mean over sequences of (c - mean c)(c - mean c)^T, descending",
        "Basic facts about language model internals (2023)",
    ),
}  # fmt: skip


def sequences(checkpoint: Checkpoint, model: Model, options: TextFields, rows: Rows, length: int) -> np.ndarray:
    """The whole data as sequences of `length` tokens, without the tokenizer's special ones; (N, length).

    Raises:
      RunError: they give fewer than two, or all of them hold the same tokens.
    """
    tokenizer = tokenizer_of(checkpoint, options.tokenizer)
    if options.format != "sampled":
        most = length if options.format in TEXTS else model.architecture.max_positions
        settings = replace(options.data_options(0), max_rows=0, length=max(2, most), stride=0, bos=False)
        labels = len(settings.classes)
        rows = read_rows(
            settings, tokenizer, vocab_size=model.architecture.vocab_size, max_positions=max(2, most), causal=True,
            head="classifier" if labels else None,
        )  # fmt: skip
    tokens = rows.input_ids[rows.attention_mask]
    tokens = tokens[~np.isin(tokens, [i for i in tokenizer.all_special_ids if i is not None])]
    count = len(tokens) // length
    if count < 2:
        raise RunError(
            f"{options.data or options.format}: {len(tokens)} tokens give {count} sequences of {length}; the "
            "covariance of a data set needs at least two (--config.sequence sets their length)"
        )
    found = np.sort(tokens[: count * length].reshape(count, length), axis=1)
    if (found == found[0]).all():
        raise RunError(
            f"{options.data or options.format}: all sequences of {length} tokens hold the same: nothing varies"
        )
    return tokens[: count * length].reshape(count, length)


def dataset_rows(tokens: np.ndarray, name: str, presence: bool, seed: int) -> tuple[list[dict], list[dict]]:
    """Rows of the tables `dataset_covariance` and `ranks`; tokens: (N, length)."""
    found, ranks = [], []
    name = Path(name).name
    for order in ORDERS:
        dealt = tokens if order == "text" else token_covariance.shuffled(tokens, seed)
        counts = token_covariance.token_counts(dealt, presence)
        spectrum = token_covariance.spectrum(counts, TOP, seed)
        about: dict[str, Any] = {"data": name, "order": order, "presence": presence}
        about |= {"num_sequences": len(tokens), "length": tokens.shape[1], "num_tokens": counts.shape[1]}
        found.append(about | {"method": spectrum.method, "total": spectrum.total, "evals": spectrum.evals})
        least, shape = spectrum.least, (None, counts.shape[1])
        ranks.append(rank_row("dataset", spectrum.evals, name=name, role=order, least=least, shape=shape))
    return found, ranks
