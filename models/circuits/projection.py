"""From a direction of the residual stream to scores of tokens: rows of the embedding, or of the unembedding.

The final norm's linear part goes into the unembedding, which then reads the stream itself: U diag(g) (I - 1 1^T/d). The
embedding's rows are taken as they are stored (Gemma's factor sqrt(d), positions, and BERT's norm over the sum left
out), through the projection to the stream's width where tables are narrower (ELECTRA).
"""

from dataclasses import dataclass, field

import numpy as np

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.circuits.folding import Fold
from eigensweep.models.circuits.known import architecture_of, as_matrix, norm_at, values
from eigensweep.models.errors import CheckpointError
from eigensweep.models.params import checked_leaves

PROJECTIONS = ("embedding", "unembedding")


@dataclass(frozen=True)
class Projection:
    """A row a token: `rows(a, b) @ x` are scores of the tokens a to b.

    Attributes:
      name: one of PROJECTIONS.
      table: (vocab, e) in the stored dtype; e = d but where `into` is given.
      fold: of the final norm, applied to rows.
      into: (e, d) float64, from narrow rows to the stream's width; else None.
      notes: what the reader should know: a sentence each.
    """

    name: str
    table: np.ndarray = field(repr=False)
    fold: Fold = field(default_factory=Fold, repr=False)
    into: np.ndarray | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.table)

    @property
    def width(self) -> int:
        """Entries of a direction."""
        return self.table.shape[1] if self.into is None else self.into.shape[1]

    def rows(self, start: int = 0, stop: int | None = None, dtype: type = np.float32) -> np.ndarray:
        """The vectors (n, d) of the tokens start to stop, everything folded in."""
        rows: np.ndarray = np.asarray(self.table[start:stop], dtype)
        rows = rows if self.into is None else rows @ self.into.astype(dtype)
        return np.asarray(self.fold.before(rows), dtype)

    def onto_table(self, directions: np.ndarray) -> np.ndarray:
        """Directions x (k, d) as (k, e) such that table @ onto_table(x).T are the scores: the fold moved to them.

        U diag(g) (I - 1 1^T/d) x = U (g * (x - mean x)): (k, d) numbers are folded instead of the whole table.
        """
        x = np.asarray(directions, np.float64)
        if self.fold.centred:
            x = x - x.mean(axis=-1, keepdims=True)
        if self.fold.gain is not None:
            x = x * self.fold.gain
        return x if self.into is None else x @ self.into.T


def open_projection(checkpoint: Checkpoint, name: str, fold: bool = True) -> Projection:
    """A projection of a checkpoint; reads its table.

    Args:
      checkpoint: as of `open_circuits`.
      name: "embedding"; or "unembedding", of an encoder the decoder of its masked-language head.
      fold: the final norm into the unembedding, of an encoder the norm of that head.

    Raises:
      CheckpointError: the model has no such table, or a narrower one; an encoder without embeddings.
    """
    arch = architecture_of(checkpoint)
    leaves = {leaf.path: leaf for leaf in checked_leaves(checkpoint)}
    source = checkpoint.source.name
    if name not in PROJECTIONS:
        raise ValueError(f"projection {name!r}: expected one of {', '.join(PROJECTIONS)}")
    if "embedding/embedding" not in leaves:
        raise CheckpointError(f"{source}: has no table of token embeddings, so its directions cannot be read as tokens")
    if name == "embedding":
        into = values(leaves["embedding_projection/kernel"]) if "embedding_projection/kernel" in leaves else None
        return Projection(name, leaves["embedding/embedding"].read(), into=into)
    norm, own = ("final_norm", "unembedding/kernel") if arch.causal else ("mlm/norm", "mlm/decoder/kernel")
    masked = any(path.startswith("mlm/") for path in leaves)
    if not arch.causal and not masked:
        raise CheckpointError(
            f"{source}: an encoder without a masked-language head has no unembedding; take projection=embedding"
        )
    twice = any(matrix.path == "embedding/embedding" and matrix.tied for matrix in checkpoint.matrices)
    if own not in leaves and not (arch.tied or twice):
        raise CheckpointError(f"{source}: has no unembedding, and its config does not tie it to the embedding")
    table = as_matrix(leaves[own]) if own in leaves else leaves["embedding/embedding"].read()
    if table.shape[1] != arch.width:
        raise CheckpointError(
            f"{source}: the head reads {table.shape[1]} entries, the stream has {arch.width}: no linear map leads from "
            "one to the other; take projection=embedding"
        )
    notes = () if arch.causal else ("the masked-language head's dense layer and activation are passed over",)
    return Projection(name, table, norm_at(arch, leaves, norm) if fold else Fold(), notes=notes)


def is_linear(checkpoint: Checkpoint) -> bool:
    """Whether the model writes tokens by a linear map behind its final norm, as decoders do."""
    return architecture_of(checkpoint).causal
