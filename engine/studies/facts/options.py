"""The options of a facts study."""

from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.run.options import LARGEST, option
from eigensweep.engine.studies.data import TextFields, uncounted


@dataclass(frozen=True)
class FactsOptions(TextFields):
    """Options of a facts study."""

    COMMAND: ClassVar[str] = "facts"

    length: int = uncounted(128, "tokens a row", least=2)
    max_rows: int = uncounted(256, "of the data's rows, chosen by the seed; 0 for all", least=0)
    batch_size: int = uncounted(16, "rows that go through the model at a time", least=1)
    seed: int = option(0, "of the choice of rows, of random dimensions, of resampling", least=0, most=LARGEST)
    gradients: int = option(8, "rows of which the loss's gradient is described; 0: none", least=0)
    gradient_stream: bool = option(False, "describe its gradient in the residual stream, too")
    ablations: int = option(8, "outlier dimensions that are ablated, and random ones; 0: none", least=0, most=1000)
    ablate: str = option("zero", "what an ablated dimension becomes: zero, or its mean there", choices=("zero", "mean"))
    sequence: int = option(0, "tokens a sequence of the data set's covariance; 0: as many as a row", least=0)
    presence: bool = option(False, "its counts say whether a token stands in a sequence, not how often")
    num_resamples: int = option(2000, "of the bootstrap intervals", least=10, most=10**6)
    stream: bool = uncounted(False, "one block on the device at a time, for models beyond it: no gradients then")
