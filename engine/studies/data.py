"""The options of every study that passes data through a model, and how they become rows of tokens."""

import hashlib
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.engine.run.options import Options, option
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import Checkpoint
from eigensweep.models.data import FORMATS, DataOptions, Rows, load_tokenizer, read_rows
from eigensweep.models.nn import Model, sample_rows

uncounted = partial(option, counts=False)
"""An option on which the numbers depend through the rows alone, whose digest a manifest holds, or not at all."""


@dataclass(frozen=True)
class DataFields(Options):
    """What is read and how it goes through the model."""

    data: str = uncounted(
        "", "file with the text or rows; for format = hub NAME[:CONFIGURATION]:SPLIT, for rows the same behind hub:"
    )
    format: str = uncounted("text", "what the data are (models/data/rows.py)", choices=FORMATS)
    field: str = uncounted("text", "of JSON lines and labelled rows: the field with the text")
    pair_field: str = uncounted("", "of labelled rows: the field with the second text")
    label_field: str = uncounted("label", "of labelled rows: the field with the label")
    labels: tuple[str, ...] = uncounted((), "of labelled rows: the labels, in the order of the outputs")
    tokenizer: str = uncounted("", "folder or hub id; the checkpoint's own by default")
    any_tokenizer: bool = uncounted(False, "also one with far fewer tokens than the model embeds, another model's")
    length: int = uncounted(0, "tokens a row; 0: as many as the model has positions, at most 2048", least=0)
    batch_size: int = uncounted(32, "rows that go through the model at a time", least=1)
    dtype: str = uncounted("float32", "of the forward pass", choices=("float32", "bfloat16"))
    devices: int = uncounted(1, "devices that share each batch", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length == 1:
            raise ValueError("length is 1; expected at least 2, or 0 for the longest")

    def data_options(self, seed: int, choose: str = "evenly") -> DataOptions:
        """What `eigensweep.models.data.read_rows` takes; rows beyond `max_rows` are left out as `choose` says.

        Raises:
          RunError: the options contradict one another.
        """
        if not self.data and self.format != "sampled":
            raise RunError("no data: give --data=FILE, the text or rows")
        names = {f.name for f in fields(DataOptions)} - {"seed", "bos"}
        values = {name: getattr(self, name) for name in names if hasattr(self, name)}
        bos = {"yes": True, "no": False}.get(getattr(self, "bos", "auto"))
        try:
            return DataOptions(**values, seed=seed, choose=choose, bos=bos)
        except ValueError as error:
            raise RunError(str(error)) from error


@dataclass(frozen=True)
class TextFields(DataFields):
    """Which part of a text is read, and how it is cut into rows."""

    data_from: float = uncounted(0.0, "begin at this share of the data", least=0, most=1)
    data_to: float = uncounted(1.0, "end at this share of the data", least=0, most=1)
    stride: int = uncounted(0, "between windows of text; 0: the length; beyond it the windows lie apart", least=0)
    bos: str = uncounted(
        "auto",
        "begin every window with the start token: auto, where the tokenizer adds one",
        choices=("auto", "yes", "no"),
    )
    max_rows: int = uncounted(0, "use so many of the rows; 0: all", least=0)
    mask_probability: float = uncounted(0.15, "of a masked language model's targets", inside=(0, 1))


def tokenizer_of(checkpoint: Checkpoint, tokenizer: str) -> Any:
    """The tokenizer that an option names, else the checkpoint's own."""
    own = checkpoint.source.directory or checkpoint.identity["source"]
    return load_tokenizer(tokenizer or str(own))


def rows_for(
    checkpoint: Checkpoint, model: Model, params: Any, options: TextFields, seed: int, head: str | None, choose: str
) -> Rows:
    """The rows that a model is measured on, or that pass through it.

    Args:
      params: the model's, for text that it writes itself; None where there is none.
      head: what has to have targets, see `read_rows`.
      choose: which rows stay of more than `max_rows`: "evenly" spaced, or at "random" by the seed.

    Raises:
      RunError, DataError: the options, the file or the tokenizer do not serve.
    """

    def sample(bos: int, num_rows: int, length: int, seed: int) -> Rows:
        return sample_rows(model, params, bos, num_rows, length, seed)

    arch = model.architecture
    return read_rows(
        options.data_options(seed, choose),
        tokenizer_of(checkpoint, options.tokenizer),
        vocab_size=arch.vocab_size,
        max_positions=arch.max_positions,
        causal=arch.causal,
        head=head,
        num_labels=arch.num_labels if head == "classifier" else None,
        sample=None if params is None else sample,
    )


def rows_sha256(*parts: Rows) -> str:
    """Over every array of all rows."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for rows in parts for x in rows)).hexdigest()


def describe_rows(rows: Rows, options: DataFields) -> dict[str, Any]:
    """What tells data from other data, for a manifest."""
    return {
        "data": Path(options.data).name or options.format,
        "data_sha256": rows_sha256(rows),
        "rows": len(rows.row),
        "length": int(rows.input_ids.shape[1]),
        "targets": int(np.sum(rows.targets != -100)),
        "dtype": options.dtype,
    }
