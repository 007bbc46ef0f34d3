"""Options of a sweep."""

from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.run.options import MatrixOptions, option, words
from eigensweep.engine.spectral import flips_null, signs
from eigensweep.engine.spectral.power_law import METHODS
from eigensweep.engine.tables.matrices import CONTROLS

_WORDS = {"none": (), "both": ("gaussian", "permutation")}


def controls_of(control: str) -> tuple[str, ...]:
    """The kinds of random control that an option `control` names, in the order of `CONTROLS`.

    Raises:
      ValueError: a word that is no control.
    """
    chosen = [kind for word in words(control) for kind in _WORDS.get(word, (word,))]
    if not words(control) or set(chosen) - set(CONTROLS):
        raise ValueError(
            f"control is {control!r}; expected {', '.join(CONTROLS)}, several of them joined by commas, both "
            "(gaussian,permutation) or none"
        )
    return tuple(kind for kind in CONTROLS if kind in chosen)


@dataclass(frozen=True)
class SweepOptions(MatrixOptions):
    """Options of a sweep; two runs with equal options and checkpoint give equal tables."""

    COMMAND: ClassVar[str] = "sweep"

    control: str = option(
        "signs",
        "random matrices that go down the same path: signs, permutation, gaussian, grid (noise rounded as quantised "
        "weights are), several, or none",
    )
    equalise: bool = option(True, "read every matrix once more with its rows and columns brought to one scale")
    num_flips: int = option(
        signs.NUM_FLIPS, "draws of random signs that the extreme values are held against; 0 for none", least=0
    )
    max_flip_entries: int = option(
        2**26, "matrices of more entries are not held against random signs: every draw decomposes one", least=1
    )
    power_law: str = option(
        "default", "default (two-sided KS) or weightwatcher (its fit, number for number)", choices=METHODS
    )
    null: str = option(
        "table", "where p-values come from: the shipped table or a fresh simulation", choices=("table", "monte_carlo")
    )
    num_draws: int = option(
        100_000,
        "unit vectors a dimension for null = monte_carlo; p >= 1/(1 + num_draws). Raised to min(m, n)/level, as fewer "
        "could not reject anything",
        least=1,
    )
    bootstrap: int = option(
        0, "replicas for the interval of alpha and the power law's p, with likelihood ratios; 0 for none", least=0
    )
    min_dim: int = option(1, "matrices whose smaller side is below this are left out, and listed", least=1)
    roles: tuple[str, ...] = option((), "the roles to sweep, as query,key; empty for all")
    blocks: tuple[int, ...] = option(
        (), "the blocks to sweep, as 0-3,7; empty for all, matrices outside blocks included"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        controls_of(self.control)
        if 0 < self.num_flips < (least := flips_null.LEAST_FLIPS):
            raise ValueError(f"num_flips is {self.num_flips}; expected 0 for none, or at least {least}")

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls to compute, the one that summaries show first."""
        return controls_of(self.control)
