"""The options of a removal study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.run.options import MatrixOptions, option
from eigensweep.engine.spectral import removal
from eigensweep.engine.spectral.removal import Removal
from eigensweep.engine.spectral.stream_axes import FACTORS
from eigensweep.engine.studies.ablation import covariance
from eigensweep.engine.studies.edited_model import MeasureFields
from eigensweep.engine.studies.factors import FactorFields
from eigensweep.engine.studies.stream_covariances import CalibrationFields


@dataclass(frozen=True)
class AblationOptions(CalibrationFields, MeasureFields, FactorFields, MatrixOptions):
    """Options of a removal study; equal options, checkpoint and data give equal tables."""

    COMMAND: ClassVar[str] = "ablate"
    ALIASES: ClassVar[Mapping[str, str]] = {"data_kind": "format", "data_devices": "devices"}

    scopes: tuple[str, ...] = option(
        ("roles",), "what a removal is done to: roles, matrices, blocks, all, single roles and matrices' names"
    )
    removals: tuple[str, ...] = option(
        ("deciles", "outliers:right", "outliers:left", "bulk:right", "bulk:left", "random:right", "random:left",
         "random:decile"),
        "what is taken out (eigensweep.engine.spectral.removal); covariance:decile, covariance:random: of the stream",
    )  # fmt: skip
    num_draws: int = option(3, "draws of every control that is drawn at random", least=1)
    gain: str = option(
        FACTORS[0], "of norms that read less: times sqrt(1 - energy), sqrt(d'/d), or as it is", choices=FACTORS
    )
    num_resamples: int = option(2000, "of the bootstrap", least=1)
    confidence: float = option(0.95, "of the bootstrap intervals", inside=(0, 1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scopes or not self.removals:
            raise ValueError("a study needs at least one scope and one removal")
        _, of_stream = self.expanded()
        for name, unused in (("calibration", ""), ("gain", FACTORS[0])):
            if not of_stream and getattr(self, name) != unused:
                raise ValueError(f"{name} is {getattr(self, name)}, and there is no removal covariance:… that it is of")

    def expanded(self) -> tuple[tuple[Removal, ...], tuple[Removal, ...]]:
        """What is taken from matrices, and what from the stream before each norm.

        Raises:
          ValueError: a text is no removal.
        """
        matrices, stream = covariance.split(self.removals)
        return removal.expand(matrices, self.num_draws), covariance.expand(stream, self.num_draws)
