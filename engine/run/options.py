"""What determines the numbers of a sweep: its options, checked once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

CHOICES = {
    "sigma": ("bulk", "entries", "init"),
    "control": ("none", "gaussian", "permutation", "both"),
    "power_law": ("default", "weightwatcher"),
    "null": ("table", "monte_carlo"),
    "strategy": ("auto", "gram", "direct", "polar", "lapack", "streamed"),
}


@dataclass(frozen=True)
class Options:
    """What the options of every study can do; the subclasses are frozen dataclasses."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dict; equal dicts mean equal numbers."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Lines naming each option whose value in `other` (a `to_json` dict) differs."""
        mine = self.to_json()
        return [
            f"{f.name}: {other.get(f.name)!r} there, {mine[f.name]!r} now"
            for f in fields(self)
            if other.get(f.name) != mine[f.name]
        ]


@dataclass(frozen=True)
class SweepOptions(Options):
    """Options of a sweep; two runs with equal options and checkpoint give equal tables.

    Attributes:
      seed: root of every random number (controls, Monte Carlo nulls).
      level: level of the outlier tests a matrix and side, and of Benjamini-Hochberg, in (0, 0.5).
      sigma: which standard deviation sets the Marchenko-Pastur edges: the robust fit to the `bulk`,
        that of the `entries`, or `init` = 1/sqrt(m).
      control: random matrices that go down the same path: `gaussian`, `permutation`, `both`, `none`.
      power_law: `default` (two-sided KS) or `weightwatcher` (its fit, number for number).
      null: where p-values come from: the shipped `table` or a fresh `monte_carlo`.
      num_draws: random unit vectors a dimension for `monte_carlo`; p >= 1/(1 + num_draws).
      min_dim: matrices whose smaller side is below this are left out (and listed as such).
      roles: the roles to sweep; empty means all.
      blocks: the blocks to sweep; empty means all, matrices outside blocks included.
      strategy: how matrices are decomposed (`eigensweep.engine.spectral.svd`).
    """

    seed: int = 0
    level: float = 0.01
    sigma: str = "bulk"
    control: str = "permutation"
    power_law: str = "default"
    null: str = "table"
    num_draws: int = 100_000
    min_dim: int = 1
    roles: tuple[str, ...] = ()
    blocks: tuple[int, ...] = ()
    strategy: str = "auto"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}")
        if not 0 < self.level < 0.5:
            raise ValueError(f"level is {self.level}; expected a number between 0 and 0.5")
        if self.num_draws < 1 or self.min_dim < 1:
            raise ValueError(
                f"num_draws and min_dim must be at least 1, not {self.num_draws} and {self.min_dim}"
            )
        object.__setattr__(self, "roles", tuple(self.roles))
        object.__setattr__(self, "blocks", tuple(int(b) for b in self.blocks))

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls to compute, the one reported as `control_` first."""
        return {"none": (), "both": ("gaussian", "permutation")}.get(self.control, (self.control,))
