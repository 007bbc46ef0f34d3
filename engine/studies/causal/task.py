"""The rows of a language model's fine-tuning: to learn from, to look at, held out; and the text that it may forget."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eigensweep.engine.studies.data import rows_sha256, tokenizer_of
from eigensweep.engine.studies.finetune.options import FinetuneOptions
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint, CheckpointError, nn
from eigensweep.models.data import (
    DataOptions,
    Example,
    Rows,
    answer_token,
    answered,
    groups_of,
    read_prompts,
    read_rows,
    split,
)


@dataclass(frozen=True)
class Task:
    """What is learned, and what is measured.

    Attributes:
      train, validation, test: rows whose targets are the answers (of a text without a fixed answer, its next tokens).
      text: held-out windows of ordinary text with its next tokens as targets; None where there is none.
      tokenizer: the model's.
    """

    train: Rows
    validation: Rows
    test: Rows
    text: Rows | None
    tokenizer: Any

    def sha256(self) -> str:
        """Over all rows."""
        return rows_sha256(self.train, self.validation, self.test, *([self.text] if self.text is not None else []))

    def sizes(self) -> dict[str, int]:
        """Rows in each part."""
        names = ("train", "validation", "test", "text")
        return {name: len(part.row) for name in names if (part := getattr(self, name)) is not None}


def read_task(checkpoint: Checkpoint, options: FinetuneOptions) -> Task:
    """The rows, tokenized for the checkpoint; prompts that are the same fall on one side of the split.

    Raises:
      RunError, InputError: the options, the file, the tokenizer or the checkpoint do not serve.
    """
    model = nn.model_of(checkpoint, options.dtype)
    if not model.architecture.causal:
        raise CheckpointError(
            f"format is {options.format}, of language models, and {model.architecture.family} is an encoder"
        )
    model.head("unembedding")
    seed, tokenizer = options.split_seed, tokenizer_of(checkpoint, options.tokenizer)
    chosen = options.data_options(seed)
    token = answer_token(tokenizer, options.fixed_answer) if options.fixed_answer else None
    rows = _read(chosen, tokenizer, model)
    groups = np.arange(len(rows.row))
    if options.format == "prompts":
        groups = groups_of([Example(prompt.text, None, 0) for prompt in read_prompts(options.data)])
    try:
        parts = split(rows, groups, options.num_train, options.validation, options.num_test, seed)
    except ValueError as error:
        raise RunError(f"{options.data}: {error}") from error
    text = parts[2] if options.format != "prompts" else None
    if options.text_data:
        most = options.num_test or len(parts[2].row)
        plain = replace(chosen, data=options.text_data, format="text", max_rows=most)
        text = _read(plain, tokenizer, model)
    if token is not None:
        parts = tuple(answered(part, token, seed) for part in parts)  # type: ignore[assignment]
    elif options.format != "prompts":
        text = None  # what is learned is that text
    return Task(*parts, text, tokenizer)


def _read(chosen: DataOptions, tokenizer: Any, model: nn.Model) -> Rows:
    arch = model.architecture
    sizes: dict[str, Any] = {"vocab_size": arch.vocab_size, "max_positions": arch.max_positions, "causal": arch.causal}
    return read_rows(chosen, tokenizer, head="unembedding", **sizes)


def steps_of(options: FinetuneOptions, num_rows: int) -> tuple[int, tuple[int, ...]]:
    """How many steps the training has, and at which of them the model is kept: the first and the last always.

    Raises:
      RunError: one to keep lies beyond the last.
    """
    _, total = options.train_options(num_rows).steps(num_rows)
    if beyond := [step for step in options.save_at if step > total]:
        raise RunError(f"save_at has step {beyond[0]}, and the training ends after step {total}")
    quarters = (math.ceil(total * k / 4) for k in range(1, 4))
    return total, tuple(sorted({0, total, *(options.save_at or quarters)}))
