"""What a facts study is about: a checkpoint, the rows that pass through it, what predicts, and what is left out."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from eigensweep.engine.studies.data import rows_for
from eigensweep.engine.studies.facts.dataset import sequences
from eigensweep.engine.studies.facts.gradients import Gradient, chosen_rows, compiled_gradient
from eigensweep.engine.studies.facts.options import FactsOptions
from eigensweep.models import Checkpoint, data, nn

_PREDICTING = ("unembedding", "mlm", "classifier")


@dataclass
class Subject:
    """What is studied.

    Attributes:
      model, rows: None where no data were given: then the weights are described alone.
      head: what predicts, None where nothing does.
      gradient: of the loss of one row; None where none is wanted, or there is no loss.
      gradient_rows: of which it is taken.
      sequences: (N, length), all tokens of the data, for their covariance.
      left_out: what is not studied, and why.
    """

    checkpoint: Checkpoint
    options: FactsOptions
    model: nn.Model | None = None
    rows: data.Rows | None = None
    head: str | None = None
    gradient: Gradient | None = None
    gradient_rows: data.Rows | None = None
    sequences: np.ndarray | None = None
    left_out: list[str] = field(default_factory=list)

    @cached_property
    def params(self) -> Any:
        """The parameters on the device."""
        return nn.load(self.checkpoint, self.options.dtype)[1]

    def scores(self, change: nn.Intervention | None = None) -> nn.Scores:
        """Of all rows, the stream changed."""
        assert self.model is not None
        assert self.rows is not None
        assert self.head is not None
        size, head = self.options.batch_size, self.head
        if self.options.stream:
            read = nn.reader(self.checkpoint, self.model)
            return nn.stream_score(self.model, read, data.batches(self.rows, size), head, change)
        return nn.score(self.model, self.params, self.rows, size, head, intervention=change)


def opened(checkpoint: Checkpoint, options: FactsOptions) -> Subject:
    """Read the rows, if there are any, find what predicts, and see that the gradients fit into memory.

    Raises:
      RunError, DataError, CheckpointError: the options, the data or the model do not serve.
    """
    if not options.data and options.format != "sampled":
        return Subject(checkpoint, options, left_out=["no data (--data=FILE): the weights are described alone"])
    model = nn.model_of(checkpoint, options.dtype)
    head = model.head()
    head = head if head in _PREDICTING else None
    params = nn.load(checkpoint, options.dtype)[1] if options.format == "sampled" else None
    rows = rows_for(checkpoint, model, params, options, options.seed, head, "random")
    subject = Subject(checkpoint, options, model, rows, head)
    length = options.sequence or rows.input_ids.shape[1]
    subject.sequences = sequences(checkpoint, model, options, rows, length)
    if head is None:
        what = "the model has no head that predicts anything (no language model, no classifier)"
        subject.left_out.append(f"{what}, so there is no loss: gradients and ablations of dimensions are left out")
    elif not np.any(rows.targets != data.IGNORE):
        subject.head = None
        subject.left_out.append("no row has anything to predict: gradients and ablations of dimensions are left out")
    elif options.gradients and options.stream:
        subject.left_out.append("stream: gradients need the whole model and are left out")
    elif options.gradients:
        subject.gradient_rows = chosen_rows(rows, options.gradients)
        one = subject.gradient_rows.take(np.array([0]))
        subject.gradient = compiled_gradient(checkpoint, model, one, head, options.gradient_stream)
    return subject
