"""Options of a comparison."""

from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.run.options import MatrixOptions, option
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.tables.groups import ROLES

WORDS = {
    "attention": tuple(r for r in ROLES if r in ("query", "key", "value", "attention_output")),
    "mlp": ("mlp_gate", "mlp_up", "mlp_down"),
}
"""What a word among the roles stands for."""


@dataclass(frozen=True)
class CompareOptions(MatrixOptions):
    """Options of a comparison; seed, level, sigma and strategy are those of the readings of a difference."""

    COMMAND: ClassVar[str] = "compare"

    against: str = option("first", "what each run is held against", choices=("first", "previous"))
    roles: tuple[str, ...] = option((), "the roles to compare, as query,key or attention; empty for all")
    other_roles: tuple[str, ...] = option(
        (), "compare, within each run and block by block, the medians over `roles` with those over these"
    )
    measures: tuple[str, ...] = option((), "columns of `matrices` to compare; empty for every number there")
    moved: bool = option(
        True, "where the checkpoints are at hand: how far each matrix moved, and what its difference looks like"
    )
    top: int = option(10, "k of the subspaces of top singular vectors whose angles are taken", least=1, most=64)
    num_resamples: int = option(1000, "bootstrap samples of the blocks behind intervals", least=100, most=100_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.other_roles and not self.roles:
            raise ValueError("other_roles asks for the roles that they are compared with: give roles, too")

    def sweep_options(self) -> SweepOptions:
        """A sweep's: of the checkpoints that come without a run, and of differences."""
        own = {key: getattr(self, key) for key in ("seed", "level", "sigma", "init", "strategy")}
        return SweepOptions(**own, control="none")


def roles_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """Roles, each word for several taken apart.

    >>> roles_of(("mlp", "query"))
    ('mlp_gate', 'mlp_up', 'mlp_down', 'query')
    """
    return tuple(role for word in words for role in WORDS.get(word, (word,)))
