"""A matrix with its rows and columns at one scale, decomposed as any other, and its components in the scales of W."""

from dataclasses import dataclass

import numpy as np

from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.stream import Decomposed
from eigensweep.engine.spectral import equalise
from eigensweep.engine.spectral.equalise_rounds import two_rounds
from eigensweep.engine.spectral.removal import Equalised, Factors, Removal


def needs_equalised(taken: Removal) -> bool:
    """Whether a removal, or the one that it is a control of, takes components of the equalised matrix."""
    return "equalised" in (taken.kind, taken.controlled.kind if taken.controlled else "")


@dataclass(frozen=True)
class Even:
    """The equalised matrix D_r^-1 W D_c^-1 as a source of its own.

    Attributes:
      source: of W.
      rows, columns: the diagonals of D_r (m,) and D_c (n,).
    """

    source: MatrixSource
    rows: np.ndarray
    columns: np.ndarray
    dtype: str = "float64"

    @property
    def name(self) -> str:
        """Of W, and that it is equalised."""
        return f"{self.source.name} (equalised)"

    @property
    def role(self) -> str:
        """Of W."""
        return self.source.role

    @property
    def block(self) -> int | None:
        """Of W."""
        return self.source.block

    @property
    def expert(self) -> int | None:
        """Of W."""
        return self.source.expert

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self.source.shape

    def read(self) -> np.ndarray:
        """float64."""
        return np.asarray(self.source.read(), np.float64) / self.rows[:, None] / self.columns

    def equalised(self, found: Decomposed) -> Equalised:
        """Its components, from its decomposition."""
        return Equalised(self.rows, found.u[0], found.s[0], found.vt[0], self.columns)


def even_of(source: MatrixSource, factors: Factors) -> Even:
    """After two rounds of scales, as the sweep's equalised reading takes them."""
    w = np.asarray(factors.w, np.float64)
    x, y = two_rounds([w], np.asarray(factors.u)[None], factors.s[None], np.asarray(factors.vt)[None])
    return Even(source, equalise.relative(x[0]), equalise.relative(y[0]))
