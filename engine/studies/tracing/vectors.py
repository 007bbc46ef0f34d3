"""From a query's tokens to its vector, or vectors."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from eigensweep.engine.spectral.queries import gram, pinv_of_gram, unit
from eigensweep.engine.studies.tracing.directions import Tables
from eigensweep.models.circuits import Projection

_CHUNK = 4096  # rows of a projection at a time


@dataclass(frozen=True)
class QueryVectors:
    """Turns tokens into vectors, one for written sides and one for all others.

    Attributes:
      tables: the projections.
      kind: "unembedding", the mean of the tokens' columns of its pseudo-inverse, for all sides; "embedding", the mean
        of their rows; "side", columns of the pseudo-inverse of the projection by which each side is read.
    """

    tables: Tables
    kind: str

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """(..., T) ids -> (..., 2, d) vectors of length one, for written sides and for the others."""
        if self.kind == "embedding":
            rows = unit(_rows(self.tables.read, ids).mean(axis=-2))
            return np.stack([rows, rows], axis=-2)
        written = unit(_rows(self.tables.written, ids).mean(axis=-2) @ self._inverses[0])
        if self.kind == "unembedding":
            return np.stack([written, written], axis=-2)
        read = unit(_rows(self.tables.read, ids).mean(axis=-2) @ self._inverses[1])
        return np.stack([written, read], axis=-2)

    @staticmethod
    def which(side: str) -> int:
        """Which of the two vectors a side is held against."""
        return 0 if side == "written" else 1

    @cached_property
    def _inverses(self) -> tuple[np.ndarray, np.ndarray]:
        """(U^T U)^+ of the projection of written sides, and of the others."""
        written = pinv_of_gram(gram(_parts(self.tables.written)))
        if self.kind == "unembedding" or self.tables.read is self.tables.written:
            return written, written
        return written, pinv_of_gram(gram(_parts(self.tables.read)))


def _parts(projection: Projection) -> Iterator[np.ndarray]:
    for start in range(0, projection.vocab_size, _CHUNK):
        yield projection.rows(start, start + _CHUNK, np.float64)


def _rows(projection: Projection, ids: np.ndarray) -> np.ndarray:
    """Some rows of a projection, (..., d) float64, everything folded in."""
    rows = replace(projection, table=projection.table[np.ravel(ids)]).rows(dtype=np.float64)
    return rows.reshape(*np.shape(ids), rows.shape[-1])
