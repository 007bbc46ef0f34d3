r"""Circuits of a checkpoint, a block at a time, as factors in float64. Weights act as y = W x.

kind      W                                   left factor (m, r)       right factor (r, n)
ov        W_O[:, h] W_V[h // group]           written to the stream    read from it
qk        W_Q[h]^T W_K[h // group]            read by the query token  read by the key token
q, k      W_Q[h]; W_K[h] of a key head        (head's own space)       read from the stream
mlp_in    mlp_up                              (neurons)                read from the stream
mlp_gate  mlp_gate                            (neurons)                read from the stream
mlp_out   mlp_down                            written to the stream    (neurons)

Attention scores are x_q^T QK x_k / sqrt(head_dim), up to biases; that scale is no part of QK. With rotary positions
QK is what holds between tokens at the same position. Where query and key are normed behind their projections (Qwen3,
Gemma 3, OLMo 2) scores are no bilinear form, and q and k stand in place of qk, those norms' gains folded into them.

Folding (on unless told otherwise). Sides that read the stream sit behind a norm where the architecture norms before
attention and MLP: its linear part is folded in, diag(g) with Gemma's 1 added, and I - 1 1^T/d of a LayerNorm. Where a
norm follows attention and MLP before the sum (Gemma 2 and 3, OLMo 2), it is folded into the written side. In models
that norm the sum (BERT) nothing is folded. Not folded, ever: the norm's division, which is a scalar a token.

Biases are no part of W; `Circuits.biases` has them, the norm's own shift carried through W and added.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.circuits.address import KINDS, OF_HEADS, Address
from eigensweep.models.circuits.folding import Fold
from eigensweep.models.circuits.known import architecture_of, norm_at, values
from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.params import checked_leaves
from eigensweep.models.plan import Leaf

SIDES: Mapping[str, tuple[str, str]] = {
    "ov": ("written", "read"),
    "qk": ("query", "key"),
    "q": ("", "query"),
    "k": ("", "key"),
    "mlp_in": ("", "read"),
    "mlp_gate": ("", "read"),
    "mlp_out": ("written", ""),
}
"""What the left and the right singular vectors of a kind are to the residual stream; "" where they do not live in it.
query and key are read, too, each by its own token."""
Redraw = Callable[[str, np.ndarray], np.ndarray]
_MLP = {"mlp_in": "up", "mlp_gate": "gate", "mlp_out": "down"}


@dataclass(frozen=True)
class Outline:
    """One kind of circuit in one block, not read: W (m, n) of rank at most r, a head each, or one without heads.

    Attributes:
      heads: of which there is a circuit each, (None,) for the MLP's.
      kv_heads: the key and value head that each of them uses, None for the MLP's.
      factored: whether W comes as two factors; else r = m and W is its own right factor.
    """

    block: int
    kind: str
    heads: tuple[int | None, ...]
    kv_heads: tuple[int | None, ...]
    m: int
    n: int
    r: int
    factored: bool

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of the circuits, in the order of `heads`."""
        return tuple(Address(self.block, self.kind, head) for head in self.heads)

    @property
    def sides(self) -> tuple[str, str]:
        """What the left and right singular vectors are to the residual stream, see SIDES."""
        return SIDES[self.kind]


@dataclass(frozen=True)
class Circuits(Outline):
    """One kind of circuit in one block, H of them: W[h] = left[h] @ right[h], or right[h] where left is None.

    Attributes:
      right: (H, r, n) float64.
      left: (H, m, r) float64, or None.
      biases: of ov "value" (H, head_dim) in front of W_O, and "output" (d,); of qk, q, k "query" and "key"
        (H, head_dim); of the MLP's "up", "gate" (mlp,) and "down" (d,). Only what the model has.
    """

    right: np.ndarray = field(repr=False)
    left: np.ndarray | None = field(repr=False)
    biases: Mapping[str, np.ndarray] = field(repr=False)

    def matrix(self, i: int) -> np.ndarray:
        """W of the i-th circuit, (m, n); for small models, and for tests."""
        return self.right[i] if self.left is None else self.left[i] @ self.right[i]


def open_circuits(checkpoint: Checkpoint, fold: bool = True) -> "Reader":
    """A reader of a checkpoint's circuits; reads no weight.

    Args:
      checkpoint: of a family that has a forward pass here, with its config.json.
      fold: norms into the factors, see the module's docstring.

    Raises:
      CheckpointError: another family, no config.json, an adapter, or tensors that do not fit the config.
    """
    arch = architecture_of(checkpoint)
    return Reader(checkpoint.source.name, arch, {leaf.path: leaf for leaf in checked_leaves(checkpoint)}, fold)


@dataclass(frozen=True)
class Reader:
    """Reads circuits block by block."""

    name: str
    architecture: Architecture
    leaves: Mapping[str, Leaf]
    fold: bool = True
    redrawn: Redraw | None = None

    def with_weights(self, redrawn: Redraw) -> "Reader":
        """The same circuits of other weights: redrawn(path, W (out, in)) stands in for every kernel W, before folding.

        Noise, or W with random signs, goes down the same path as W in this way; norms and biases stay.
        """
        return replace(self, redrawn=redrawn)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of these circuits should know about this model: a sentence each."""
        arch, found = self.architecture, []
        if arch.qk_norm:
            found.append(
                "query and key are normed behind their projections, so attention scores are no bilinear form: their "
                "sides are read alone (kinds q and k)"
            )
        if arch.ropes:
            found.append("rotary positions: query and key circuits are what holds at relative position 0")
        if any(path.endswith("/bias") for path in self.leaves if path.startswith("blocks/0/") and "norm" not in path):
            found.append("biases are kept beside the circuits, not in them")
        if any(arch.has_experts(block) for block in range(arch.num_blocks)):
            found.append("experts' MLPs are left out")
        if self.fold and arch.residual == "post":
            found.append("the norms stand behind the sums: none is folded")
        return tuple(found)

    def outlines(self, block: int) -> tuple[Outline, ...]:
        """What a block has, in the order of KINDS; reads nothing."""
        arch, d = self.architecture, self.architecture.width
        heads, keys = tuple(range(arch.num_heads)), tuple(range(arch.num_kv_heads))
        kv_heads = tuple(head * arch.num_kv_heads // arch.num_heads for head in heads)
        r = arch.head_dim
        found = [Outline(block, "ov", heads, kv_heads, d, d, r, True)]
        if arch.qk_norm:
            found.append(Outline(block, "q", heads, kv_heads, r, d, r, False))
            found.append(Outline(block, "k", keys, keys, r, d, r, False))
        else:
            found.append(Outline(block, "qk", heads, kv_heads, d, d, r, True))
        if not arch.has_experts(block):
            for kind, part in _MLP.items():
                if kind != "mlp_gate" or arch.gated:
                    d_in, d_out = self._leaf(f"blocks/{block}/mlp/{part}/kernel").shape
                    found.append(Outline(block, kind, (None,), (None,), d_out, d_in, d_out, False))
        return tuple(found)

    def read(self, block: int, kinds: Sequence[str] = KINDS) -> Iterator[Circuits]:
        """A block's circuits, a kind at a time: what is not asked for is not read.

        Raises:
          CheckpointError: no such block; a tensor cannot be read, or holds numbers that are not finite.
        """
        if not 0 <= block < self.architecture.num_blocks:
            raise CheckpointError(f"{self.name}: no block {block}; it has {self.architecture.num_blocks}, from 0")
        for outline in self.outlines(block):
            if outline.kind in kinds:
                read = self._attention if outline.kind in OF_HEADS else self._mlp
                yield Circuits(**vars(outline), **read(outline))

    def folds(self, outline: Outline) -> tuple[Fold, Fold]:
        """What is folded into the left and the right side of these circuits; the identity where nothing is."""
        reads, writes = self.norms(outline.block, "attention" if outline.kind in OF_HEADS else "mlp")
        left, right = ({"written": writes, "": Fold()}.get(side, reads) for side in outline.sides)
        return left, right

    def find(self, address: Address) -> Outline:
        """The outline that holds a circuit.

        Raises:
          CheckpointError: this model has none of that address; says what there is.
        """
        arch, there = self.architecture, []
        if address.block < arch.num_blocks:
            for outline in self.outlines(address.block):
                there.append(outline.kind)
                if outline.kind != address.kind:
                    continue
                if address.head not in outline.heads:
                    raise CheckpointError(f"{self.name}: no {address}; it has heads 0 to {len(outline.heads) - 1}")
                if address.index is not None and address.index > min(outline.m, outline.n, outline.r):
                    most = min(outline.m, outline.n, outline.r)
                    raise CheckpointError(f"{self.name}: no {address}; its directions are 1 to {most}")
                return outline
            raise CheckpointError(f"{self.name}: no {address}; the block has {', '.join(there)}")
        raise CheckpointError(f"{self.name}: no {address}; it has blocks 0 to {arch.num_blocks - 1}")

    def _attention(self, outline: Outline) -> dict:
        """The factors of `ov`, `qk`, `q` or `k`, and their biases."""
        reads, writes = self.norms(outline.block, "attention")
        at = [number or 0 for number in outline.kv_heads]
        if outline.kind == "ov":
            value, shift = self._projection(outline.block, "value", reads)
            output = self._weight(f"blocks/{outline.block}/attention/output/kernel")  # (d, H head_dim)
            output = output.reshape(len(output), len(outline.heads), outline.r).swapaxes(0, 1)
            bias = self._vector(f"blocks/{outline.block}/attention/output/bias")
            biases = {"value": None if shift is None else shift[at], "output": bias}
            return {"right": value[at], "left": writes.behind(output), "biases": _known(biases)}
        if outline.kind in ("q", "k"):
            name = {"q": "query", "k": "key"}[outline.kind]
            own, shift = self._projection(outline.block, name, reads)
            return {"right": own, "left": None, "biases": _known({name: shift})}
        query, query_shift = self._projection(outline.block, "query", reads)
        key, key_shift = self._projection(outline.block, "key", reads)
        biases = {"query": query_shift, "key": None if key_shift is None else key_shift[at]}
        return {"right": key[at], "left": query.swapaxes(1, 2), "biases": _known(biases)}

    def _projection(self, block: int, name: str, reads: Fold) -> tuple[np.ndarray, np.ndarray | None]:
        """W_Q, W_K or W_V as (heads, head_dim, d), and its bias (heads, head_dim) with the norm's shift."""
        path, size = f"blocks/{block}/attention/{name}", self.architecture.head_dim
        w = self._weight(f"{path}/kernel")
        shifts = [x for x in (self._vector(f"{path}/bias"), reads.constant(w)) if x is not None]
        shift = np.sum(shifts, axis=0).reshape(-1, size) if shifts else None
        w = reads.before(w).reshape(-1, size, w.shape[1])
        gain = norm_at(self.architecture, self.leaves, f"{path}_norm").gain if self.fold and name != "value" else None
        if gain is not None:
            gain = gain.reshape(-1, size)
            w, shift = w * gain[..., None], None if shift is None else shift * gain
        return w, shift

    def _mlp(self, outline: Outline) -> dict:
        """The matrix of `mlp_in`, `mlp_gate` or `mlp_out`, and its bias."""
        part = _MLP[outline.kind]
        path = f"blocks/{outline.block}/mlp/{part}"
        reads, writes = self.norms(outline.block, "mlp")
        w, bias = self._weight(f"{path}/kernel"), self._vector(f"{path}/bias")
        if outline.kind == "mlp_out":
            return {"right": writes.behind(w)[None], "left": None, "biases": _known({part: bias})}
        shifts = [x for x in (bias, reads.constant(w)) if x is not None]
        total = np.sum(shifts, axis=0) if shifts else None
        return {"right": reads.before(w)[None], "left": None, "biases": _known({part: total})}

    def norms(self, block: int, part: str) -> tuple[Fold, Fold]:
        """The norms before and behind a block's attention or MLP; identities where there is none, or none is folded."""
        arch, residual = self.architecture, self.architecture.residual
        if not self.fold:
            return Fold(), Fold()
        before = norm_at(arch, self.leaves, f"blocks/{block}/{part}_norm") if residual in _BEFORE else Fold()
        behind = norm_at(arch, self.leaves, f"blocks/{block}/{part}_post_norm") if residual in _BEHIND else Fold()
        return before, behind

    def _leaf(self, path: str) -> Leaf:
        if path not in self.leaves:
            raise CheckpointError(f"{self.name}: has no {path}, which its circuits need")
        return self.leaves[path]

    def _weight(self, path: str) -> np.ndarray:
        """W (out, in), float64."""
        w = values(self._leaf(path), turned=True)
        return w if self.redrawn is None else self.redrawn(path, w)

    def _vector(self, path: str) -> np.ndarray | None:
        return values(self.leaves[path]) if path in self.leaves else None


_BEFORE, _BEHIND = ("pre", "parallel", "sandwich"), ("output", "sandwich")


def _known(biases: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray]:
    return {name: bias for name, bias in biases.items() if bias is not None}
