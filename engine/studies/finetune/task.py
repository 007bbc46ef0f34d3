"""The rows of a fine-tuning study: to learn from, to stop by, and held out."""

from dataclasses import dataclass

import numpy as np

from eigensweep.engine.studies.data import DataFields, rows_sha256, tokenizer_of
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint, nn
from eigensweep.models.data import Rows, duplicates, groups_of, read_examples, read_rows, split
from eigensweep.models.nn.classifier import check_classifier


@dataclass(frozen=True)
class Task:
    """Rows to learn from, to stop by, and held out; `labels` are the classes.

    Attributes:
      num_duplicates: rows of the data that share their passage with another one. All of them fall on one side.
    """

    train: Rows
    validation: Rows
    test: Rows
    labels: tuple[str, ...]
    num_duplicates: int = 0

    def sha256(self) -> str:
        """Over all rows."""
        return rows_sha256(self.train, self.validation, self.test)

    def majority(self) -> dict[str, float]:
        """What knowing only the shares of the labels gives on the held-out rows: accuracy, and loss in nats."""
        counts = np.bincount(self.train.targets, minlength=len(self.labels)) + 1.0
        loss = -np.log(counts / counts.sum())[self.test.targets].mean()
        return {"accuracy": float(np.mean(self.test.targets == counts.argmax())), "loss": float(loss)}

    def sizes(self) -> dict[str, int]:
        """Rows in each part."""
        return {name: len(getattr(self, name).row) for name in ("train", "validation", "test")}


def read_task(
    checkpoint: Checkpoint, options: DataFields, num_train: int, validation: float, num_test: int, seed: int
) -> Task:
    """The rows, tokenized for the checkpoint and split by passage, see `eigensweep.models.data.split`.

    Raises:
      RunError, InputError: the options, the file, the tokenizer or the checkpoint do not serve.
    """
    data_options = options.data_options(seed)
    if not data_options.classes:
        raise RunError(
            f"format is {options.format!r}; a classifier learns from boolq, boolq_pairs, wic or labelled rows"
        )
    model = nn.model_of(checkpoint)
    check_classifier(model, len(data_options.classes))
    arch = model.architecture
    examples = read_examples(data_options)
    rows = read_rows(
        data_options,
        tokenizer_of(checkpoint, options.tokenizer),
        vocab_size=arch.vocab_size,
        max_positions=arch.max_positions,
        causal=arch.causal,
        head="classifier",
    )
    try:
        parts = split(rows, groups_of(examples), num_train, validation, num_test, seed)
    except ValueError as error:
        raise RunError(f"{options.data}: {error}") from error
    return Task(*parts, data_options.classes, duplicates(examples))
