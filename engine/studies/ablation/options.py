"""What a removal study does: its options, checked once, and the matrices behind its scopes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.options import CHOICES, Options
from eigensweep.engine.spectral import removal
from eigensweep.engine.spectral.removal import Removal

Scopes = dict[str, tuple[MatrixSource, ...]]


@dataclass(frozen=True)
class AblationOptions(Options):
    """Options of a removal study; equal options, checkpoint and evaluation give equal tables.

    Attributes:
      scopes: what a removal is done to: a role (all its matrices), a matrix's name, "roles" (each role in the blocks
        by itself), "matrices" (each matrix in the blocks by itself), "blocks" (all of them together), "all".
      removals: see `eigensweep.engine.spectral.removal`; "deciles" for all ten.
      num_draws: draws of every random removal without a number.
      seed: root of the draws and of the bootstrap.
      level: of the outlier tests, a side and matrix.
      sigma: the noise that sets the edges: `bulk`, `entries` or `init`, as in `SweepOptions`.
      num_resamples, confidence: of the bootstrap intervals.
      strategy: how matrices are decomposed.
    """

    scopes: tuple[str, ...] = ("roles",)
    removals: tuple[str, ...] = ("deciles",)
    num_draws: int = 1
    seed: int = 0
    level: float = 0.01
    sigma: str = "bulk"
    num_resamples: int = 2000
    confidence: float = 0.95
    strategy: str = "auto"

    def __post_init__(self) -> None:
        for name in ("sigma", "strategy"):
            if getattr(self, name) not in CHOICES[name]:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(CHOICES[name])}"
                )
        if not 0 < self.level < 0.5 or not 0 < self.confidence < 1:
            raise ValueError(
                f"level must lie in (0, 0.5) and confidence in (0, 1), not {self.level}, {self.confidence}"
            )
        if self.num_draws < 1 or self.num_resamples < 1:
            raise ValueError(
                f"num_draws and num_resamples must be at least 1, not {self.num_draws}, {self.num_resamples}"
            )
        if not self.scopes or not self.removals:
            raise ValueError("a study needs at least one scope and one removal")
        for name in ("scopes", "removals"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        removal.expand(self.removals)


def resolve_scopes(matrices: Iterable[MatrixSource], scopes: Sequence[str]) -> Scopes:
    """The matrices of every scope, in the order given; see `AblationOptions.scopes`. Vectors (1 x n) are left out.

    Raises:
      RunError: a scope without matrices; names the roles that there are.
    """
    usable = [m for m in matrices if min(m.shape) > 1]
    in_blocks = [m for m in usable if m.block is not None]
    groups = {
        "roles": {role: [m for m in in_blocks if m.role == role] for role in _roles(in_blocks)},
        "matrices": {m.name: [m] for m in in_blocks},
        "blocks": {"blocks": in_blocks},
        "all": {"all": usable},
    }
    result: dict[str, list[MatrixSource]] = {}
    for scope in scopes:
        result |= groups.get(scope) or {scope: [m for m in usable if scope in (m.role, m.name)]}
    empty = [scope for scope, found in result.items() if not found]
    if empty:
        raise RunError(
            f"scope {', '.join(empty)}: no matrix; there are the roles {', '.join(_roles(usable))}, every matrix's "
            "own name, and the words roles, matrices, blocks, all"
        )
    return {scope: tuple(found) for scope, found in result.items()}


def check_bands(scopes: Scopes, removals: Sequence[Removal]) -> None:
    """Refuse bands that reach beyond the singular values of a matrix, before anything is computed.

    Raises:
      RunError: naming the matrix.
    """
    bands = [taken for taken in removals if taken.kind == "band"]
    for source in (s for sources in scopes.values() for s in sources):
        for taken in bands:
            try:
                removal.indices(
                    taken, np.zeros(min(source.shape)), source.shape, 0.0, 0.01, jax.random.key(0)
                )
            except ValueError as error:
                raise RunError(f"{source.name}: {error}") from error


def _roles(matrices: Sequence[MatrixSource]) -> list[str]:
    return list(dict.fromkeys(m.role for m in matrices))
