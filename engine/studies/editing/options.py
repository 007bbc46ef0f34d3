"""The options of an edit."""

from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.run.options import LARGEST, option
from eigensweep.engine.studies.edited_model import MeasureFields


@dataclass(frozen=True)
class EditOptions(MeasureFields):
    """What an edit is held against, and how a model is measured."""

    COMMAND: ClassVar[str] = "edit"

    fold: bool = option(True, "directions of circuits with their norms folded in")
    others: int = option(
        256, "other directions of the circuit that are taken out for comparison, spread evenly", least=0
    )
    random: int = option(64, "random directions of the same norm, taken out for comparison", least=0)
    seed: int = option(0, "of the random directions, of masks and of the bootstrap", least=0, most=LARGEST)
    num_resamples: int = option(2000, "of the bootstrap over rows of the text", least=1)
