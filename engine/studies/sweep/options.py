"""Options of a sweep."""

from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.run.options import MatrixOptions, option
from eigensweep.engine.spectral.power_law import METHODS

CONTROLS = {"none": (), "gaussian": ("gaussian",), "permutation": ("permutation",), "both": ("gaussian", "permutation")}


@dataclass(frozen=True)
class SweepOptions(MatrixOptions):
    """Options of a sweep; two runs with equal options and checkpoint give equal tables."""

    COMMAND: ClassVar[str] = "sweep"

    control: str = option("permutation", "random matrices that go down the same path", choices=tuple(CONTROLS))
    power_law: str = option(
        "default", "default (two-sided KS) or weightwatcher (its fit, number for number)", choices=METHODS
    )
    null: str = option(
        "table", "where p-values come from: the shipped table or a fresh simulation", choices=("table", "monte_carlo")
    )
    num_draws: int = option(100_000, "unit vectors a dimension for null = monte_carlo; p >= 1/(1 + num_draws)", least=1)
    bootstrap: int = option(
        0, "replicas for the interval of alpha and the power law's p, with likelihood ratios; 0 for none of them", least=0
    )
    min_dim: int = option(1, "matrices whose smaller side is below this are left out, and listed", least=1)
    roles: tuple[str, ...] = option((), "the roles to sweep, as query,key; empty for all")
    blocks: tuple[int, ...] = option(
        (), "the blocks to sweep, as 0-3,7; empty for all, matrices outside blocks included"
    )

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls to compute, the one that summaries show first."""
        return CONTROLS[self.control]
