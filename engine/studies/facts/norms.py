"""What the facts study says of weight matrices by depth: norms, with and without the norm's gain, and rank plots."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eigensweep.engine.run.stream import batches, decompose_batch, rank_eps, read_ahead
from eigensweep.engine.studies.facts.ranks import rank_row
from eigensweep.engine.tables.columns import FLOAT, TEXT, Column
from eigensweep.engine.tables.groups import group_of
from eigensweep.engine.tables.matrices import IDENTITY, MATRICES, identity_row
from eigensweep.models import Checkpoint, Matrix
from eigensweep.models.circuits import Fold
from eigensweep.models.circuits.known import architecture_of, norm_at
from eigensweep.models.errors import CheckpointError

WRITING = ("attention_output", "mlp_down")
READING = ("query", "key", "value", "mlp_up", "mlp_gate")
_SOURCE = "Basic facts about language model internals (2023)"
_OF_MATRIX = tuple(key for key in IDENTITY if key not in ("dtype", "quantised"))

NORMS = {
    **{key: MATRICES[key] for key in _OF_MATRIX},
    "side": Column(TEXT, "", "writing: adds to the stream; reading: reads it behind a norm; empty: neither"),
    "frobenius": Column(FLOAT, "[w]", "(sum_ij W_ij^2)^1/2", _SOURCE, "Frobenius norm"),
    "spectral": Column(FLOAT, "[w]", "s_1", _SOURCE, "spectral norm"),
    "folded_frobenius": Column(
        FLOAT, "[w]",
        "the same of W with the linear part of its norm: W diag(g) (I - 1 1^T/d) where W reads behind one (RMSNorm: "
        "without the second factor), diag(g) (I - 1 1^T/d) W where one follows; null where none stands between W and "
        "the stream",
        _SOURCE, "Frobenius norm with the gain",
    ),
    "folded_spectral": Column(FLOAT, "[w]", "its largest singular value", _SOURCE, "spectral norm with the gain"),
}  # fmt: skip


@dataclass(frozen=True)
class Folded:
    """A matrix together with the linear part of the norm beside it, as a source of its own."""

    matrix: Matrix
    fold: Fold
    behind: bool
    dtype: str = "float64"

    @property
    def name(self) -> str:
        """The matrix's."""
        return self.matrix.name

    @property
    def shape(self) -> tuple[int, int]:
        """The matrix's."""
        return self.matrix.shape

    def read(self) -> np.ndarray:
        """W with the norm's gain, and its centring, float64."""
        w = np.asarray(self.matrix.read(), np.float64)
        return self.fold.behind(w) if self.behind else self.fold.before(w)


def side_of(role: str) -> str:
    """Whether matrices of a role write to the stream or read it."""
    return "writing" if role in WRITING else "reading" if role in READING else ""


def folded(checkpoint: Checkpoint, matrices: Sequence[Matrix]) -> list[Folded]:
    """Those of the matrices between which and the stream a norm stands; none where the family's norms are not known."""
    try:
        arch = architecture_of(checkpoint)
    except CheckpointError:
        return []
    leaves = {leaf.path: leaf for leaf in checkpoint.plan.leaves}
    found = []
    for matrix in matrices:
        side = side_of(matrix.role)
        if not side or not matrix.path.startswith("blocks/"):
            continue
        part = "attention" if "/attention/" in matrix.path else "mlp"
        after = side == "writing"
        if after and arch.residual in ("output", "sandwich"):
            place = f"{part}_post_norm"
        elif not after and arch.residual in ("pre", "parallel", "sandwich"):
            place = f"{part}_norm"
        else:
            continue
        block = "/".join(matrix.path.split("/")[:2])
        found.append(Folded(matrix, norm_at(arch, leaves, f"{block}/{place}"), after))
    return found


def weight_rows(checkpoint: Checkpoint, matrices: Sequence[Matrix]) -> tuple[list[dict], list[dict]]:
    """Rows of the tables `norms` and `ranks` of these matrices, in their order; a matrix without numbers has none."""
    with_gain = {source.name: s for source, s, _ in _values(folded(checkpoint, matrices))}
    norms, ranks = {}, {}
    for matrix, s, least in _values(matrices):
        row = {key: value for key, value in identity_row(matrix).items() if key in _OF_MATRIX}
        row |= {"side": side_of(matrix.role), "frobenius": _frobenius(s), "spectral": float(s[0])}
        if matrix.name in with_gain:
            gained = with_gain[matrix.name]
            row |= {"folded_frobenius": _frobenius(gained), "folded_spectral": float(gained[0])}
        norms[matrix.name] = row
        about = {"name": matrix.name, "role": group_of(row).label, "block": matrix.block}
        ranks[matrix.name] = rank_row("weight", s, least=least, shape=matrix.shape, **about)
    order = [matrix.name for matrix in matrices if matrix.name in norms]
    return [norms[name] for name in order], [ranks[name] for name in order]


def _values(sources: Sequence[Any]) -> Iterator[tuple[Any, np.ndarray, float]]:
    """Every source that has them with its singular values, and below what they are rounding."""
    for batch, ws, _ in read_ahead(batches(sources)):
        found = decompose_batch([source.name for source in batch.sources], ws, "auto")
        for source, s, status in zip(batch.sources, found.s, found.status, strict=True):
            if status == "ok":
                yield source, s, max(source.shape) * rank_eps(ws[0].dtype) * float(s[0])


def _frobenius(s: np.ndarray) -> float:
    return float(np.sqrt(np.sum(s * s)))
