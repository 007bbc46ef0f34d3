r"""Taking a singular direction out of a circuit: a rank-one update of one stored matrix, and of its bias.

A direction s u v^T of the folded circuit is scaled by `scale`; with c = 1 - scale, L and R the folded factors, g the
gain of the norm in front (diag(g) (I - 1 1^T/d) is folded in) or behind:

kind               W <- W - left right^T                                    bias <- bias + left (right^T b)
ov                 columns of the head in W_O: c u/g, L^T u                 b the value bias, with the norm's shift
qk                 rows of the query head in W_Q: c L^T u, u/g              b the norm's shift
mlp_in, mlp_gate   c s u, v/g                                               b the norm's shift
mlp_out            c u/g, s v                                               none

So the circuit loses c s u v^T and nothing else: what passes through it without depending on the token stays. Of grouped
queries only the one query head changes. After Millidge & Black (2022), with norms and biases kept apart.

The controls take away the same norm: a random direction of the stream in place of u (of v), and a random vector of the
head, |W_V^T w| = s, or of the neurons in place of the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from eigensweep.engine.spectral.factored import product_svd, side_svd
from eigensweep.engine.spectral.queries import unit
from eigensweep.engine.tables.errors import RunError
from eigensweep.models.circuits import Address, Circuits, Fold, Reader

EDITED = ("ov", "qk", "mlp_in", "mlp_gate", "mlp_out")
_PART = {
    "ov": "attention/output",
    "qk": "attention/query",
    "mlp_in": "mlp/up",
    "mlp_gate": "mlp/gate",
    "mlp_out": "mlp/down",
}


@dataclass(frozen=True)
class Update:
    """W[rows, columns] <- W[rows, columns] - left right^T of a matrix W (out, in), bias[rows] <- bias[rows] + shift.

    Attributes:
      path: of the leaves, without "/kernel" and "/bias".
      left: (m,); right: (n,); shift: (m,) or None.
      rows, columns: a head's; None for all.
    """

    path: str
    left: np.ndarray
    right: np.ndarray
    rows: slice | None = None
    columns: slice | None = None
    shift: np.ndarray | None = None


@dataclass(frozen=True)
class Editable:
    """One circuit, decomposed.

    Attributes:
      address: of the circuit.
      s: (k,) singular values.
      stream: (k, d) the vectors by which it is edited: u of ov, qk and mlp_out, v of mlp_in and mlp_gate.
      left, right: its folded factors L (m, r), None for the MLP's, and R (r, n).
      before, behind: what is folded in.
      value: (head_dim,) of ov the value bias with the norm's shift; None for none.
    """

    address: Address
    s: np.ndarray
    stream: np.ndarray
    left: np.ndarray | None
    right: np.ndarray
    before: Fold
    behind: Fold
    value: np.ndarray | None

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.address.kind

    @property
    def path(self) -> str:
        """Of the matrix that an edit changes."""
        return f"blocks/{self.address.block}/{_PART[self.kind]}"

    def removal(self, index: int, scale: float = 0.0) -> Update:
        """Direction `index`, from 1, scaled."""
        x, c = self.stream[index - 1], 1.0 - scale
        if self.kind in ("ov", "qk"):
            assert self.left is not None
            inner = self.left.T @ x
            if self.kind == "ov":
                return self._update(c * _over(x, self.behind.gain), inner)
            return self._update(c * inner, _over(x, self.before.gain))
        if self.kind == "mlp_out":
            return self._update(c * _over(x, self.behind.gain), self.right.T @ x)
        return self._update(c * (self.right @ x), _over(x, self.before.gain))

    def random(self, s: float, rng: np.random.Generator, scale: float = 0.0) -> Update:
        """A random direction of singular value s, taken away like a removal."""
        reads, c = self.kind in ("qk", "mlp_in", "mlp_gate"), 1.0 - scale
        x = rng.standard_normal((self.stream.shape[1],))
        x = unit(x - x.mean() if reads and self.before.centred else x)
        if self.kind in ("ov", "qk"):
            w = rng.standard_normal((len(self.right),))
            other = s * w / np.linalg.norm(self.right.T @ w)
        else:
            other = s * unit(rng.standard_normal((self.right.shape[0 if reads else 1],)))
        if reads:
            return self._update(c * other, _over(x, self.before.gain))
        return self._update(c * _over(x, self.behind.gain), other)

    def _update(self, left: np.ndarray, right: np.ndarray) -> Update:
        constant = {"ov": self.value, "mlp_out": None}.get(self.kind, self.before.shift)
        update = Update(self.path, left, right, shift=None if constant is None else left * float(right @ constant))
        if self.address.head is None:
            return update
        size = len(self.right)
        at = slice(self.address.head * size, (self.address.head + 1) * size)
        return replace(update, columns=at) if self.kind == "ov" else replace(update, rows=at)


def open_editable(reader: Reader, address: Address) -> Editable:
    """Read and decompose one circuit.

    Raises:
      CheckpointError: the model has no such circuit, or no direction of that index.
      RunError: a kind that cannot be edited.
    """
    if address.kind not in EDITED:
        raise RunError(f"{address}: kinds that are edited are {', '.join(EDITED)}; q and k stand before a norm")
    outline = reader.find(address)
    circuits = next(found for found in reader.read(address.block, (address.kind,)))
    i = outline.heads.index(address.head)
    before, behind = reader.norms(address.block, "mlp" if address.head is None else "attention")
    s, stream = _decomposed(circuits, i)
    left = None if circuits.left is None else circuits.left[i]
    value = circuits.biases["value"][i] if address.kind == "ov" and "value" in circuits.biases else None
    return Editable(address.circuit, s, stream, left, circuits.right[i], before, behind, value)


def _decomposed(circuits: Circuits, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Singular values and the vectors that edits go by."""
    if circuits.left is not None:
        found = product_svd(circuits.left[i : i + 1], circuits.right[i : i + 1])
        return found.s[0], found.u[0].T
    s, vectors = side_svd(circuits.right[i : i + 1], "left" if circuits.kind == "mlp_out" else "right")
    return s[0], vectors[0]


def applied(
    updates: list[Update], matrices: Mapping[str, np.ndarray], biases: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Matrices (out, in) and biases by path, float64, after all updates; only those that change.

    Args:
      matrices, biases: as they are, by path; a bias that is not there is not made.
    """
    new: dict[str, np.ndarray] = {}
    shifted: dict[str, np.ndarray] = {}
    for update in updates:
        w = new.setdefault(update.path, np.array(matrices[update.path], np.float64))
        rows, columns = update.rows or slice(None), update.columns or slice(None)
        w[rows, columns] -= np.outer(update.left, update.right)
        if update.shift is not None and update.path in biases:
            b = shifted.setdefault(update.path, np.array(biases[update.path], np.float64))
            b[rows] += update.shift
    return new, shifted


def _over(x: np.ndarray, gain: np.ndarray | None) -> np.ndarray:
    """x/g, and 0 where the gain is 0: nothing comes through there."""
    return x if gain is None else np.divide(x, gain, out=np.zeros_like(x), where=gain != 0)
