"""The singular directions of a model that live in its residual stream, block by block; and their tokens."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from eigensweep.engine.run.progress import OnProgress, Progress
from eigensweep.engine.spectral.factored import product_svd, side_svd
from eigensweep.engine.spectral.top_scores import TopScores, top_scores
from eigensweep.models import Checkpoint
from eigensweep.models.circuits import Address, Circuits, Projection, Reader, open_projection
from eigensweep.models.circuits.projection import is_linear


@dataclass(frozen=True)
class Side:
    """One side of all directions of one circuit.

    Attributes:
      circuit: its address, without an index.
      name: what the side is to the stream: written, read, query or key.
      s: (k,) singular values, descending.
      vectors: (k, d) unit vectors, rows.
      leading: (k, d) those that decide the sign of each pair: the left ones where they live in the stream.
      leading_name: the name of their side.
    """

    circuit: Address
    name: str
    s: np.ndarray
    vectors: np.ndarray
    leading: np.ndarray
    leading_name: str

    def address(self, row: int) -> Address:
        """Of the direction in a row."""
        return replace(self.circuit, index=row + 1)


def sides(reader: Reader, block: int) -> Iterator[Side]:
    """All sides of a block's circuits."""
    for circuits in reader.read(block):
        yield from _sides(circuits)


def _sides(circuits: Circuits) -> Iterator[Side]:
    left, right = circuits.sides
    if circuits.left is not None:
        found = product_svd(circuits.left, circuits.right)
        for i, address in enumerate(circuits.addresses):
            u, vt = found.u[i].T, found.vt[i]
            yield Side(address, left, found.s[i], u, u, left)
            yield Side(address, right, found.s[i], vt, u, left)
        return
    s, vectors = side_svd(circuits.right, "left" if left else "right")
    for i, address in enumerate(circuits.addresses):
        yield Side(address, left or right, s[i], vectors[i], vectors[i], left or right)


def count(reader: Reader) -> int:
    """How many vectors `sides` gives over all blocks."""
    outlines = (o for block in range(reader.architecture.num_blocks) for o in reader.outlines(block))
    return sum(len(o.heads) * min(o.m, o.n, o.r) * sum(map(bool, o.sides)) for o in outlines)


@dataclass(frozen=True)
class Tables:
    """What directions are projected to: `written` for what is written to the stream, `read` for what is read."""

    written: Projection
    read: Projection

    def of(self, side: str) -> Projection:
        """The projection of a side."""
        return self.written if side == "written" else self.read

    @property
    def apart(self) -> bool:
        """Whether the two hold different numbers, the final norm's gain apart."""
        one, other = self.written.table, self.read.table
        return one.shape != other.shape or not np.array_equal(one[:64], other[:64])

    def top(self, vectors: np.ndarray, side: str, k: int) -> TopScores:
        """The tokens of the k highest and of the k lowest scores of directions (n, d)."""
        projection = self.of(side)
        return top_scores(projection.table, projection.onto_table(vectors), k)

    def signs(self, vectors: np.ndarray, side: str) -> np.ndarray:
        """(n,) the sign that makes the score of largest size positive."""
        found = self.top(vectors, side, 1)
        return np.where(-found.low_scores[:, 0] > found.high_scores[:, 0], -1, 1)


def open_tables(checkpoint: Checkpoint, fold: bool) -> Tables:
    """Unembedding for what is written, where the model writes tokens by a linear map; embedding for all else."""
    embedding = open_projection(checkpoint, "embedding", fold)
    written = open_projection(checkpoint, "unembedding", fold) if is_linear(checkpoint) else embedding
    return Tables(written, embedding)


def blocks(reader: Reader, phase: str, on_progress: OnProgress) -> Iterator[int]:
    """The numbers of a model's blocks, each told of when it is done."""
    total = reader.architecture.num_blocks
    for block in range(total):
        yield block
        on_progress(Progress(block + 1, total, block + 1, total, phase=phase))
