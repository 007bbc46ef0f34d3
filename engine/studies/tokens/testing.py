"""A block's directions, its neurons, and their controls, each held against its law: from `Found` to columns."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from eigensweep.engine.spectral import coherence, controls
from eigensweep.engine.spectral.decay import fit_decay
from eigensweep.engine.spectral.top_scores import top_scores
from eigensweep.engine.studies.tokens.directions import chosen, decompose, directions_of
from eigensweep.engine.studies.tokens.judging import Judge, Judged, Law, Readings, flips_of, judged
from eigensweep.engine.studies.tokens.options import TokensOptions
from eigensweep.engine.studies.tokens.records import Decomposed, Found
from eigensweep.engine.studies.tokens.turning import is_turned
from eigensweep.models.circuits import KINDS, Circuits, Fold, Outline, Projection, Reader

MODEL, GAUSSIAN, SIGNS = "model", "gaussian", "signs"
"""Whose weights: the model's own; Gaussian ones of the same standard deviation; the model's with random signs."""
DIRECTION, NEURON, EMBEDDING = "direction", "neuron", "embedding"
_FRAMES = ((512, 64), (1024, 16), (None, 2))  # decomposed Gaussian matrices behind a law, up to a shorter side
_CONTROL, _NULL, _PICK = 1, 2, 3  # keep draws of one seed apart

Tables = Mapping[str, tuple[Projection, Any]]
"""By side: what turns its directions into tokens, and the table as it is searched."""


def redrawn(weights: str, seed: int, number: int, path: str, w: np.ndarray) -> np.ndarray:
    """W of a control: Gaussian with W's standard deviation, or W with random signs."""
    rng = np.random.default_rng((seed, number, zlib.crc32(path.encode())))
    if weights == GAUSSIAN:
        return rng.standard_normal(w.shape) * controls.standard_deviation(w)
    return controls.flip(w, controls.packed_bits(rng, w.size))


class Tested(NamedTuple):
    """One side of a batch of circuits with its readings and their p."""

    found: Found
    read: Readings
    p: Judged
    law: Law


@dataclass
class Tester:
    """Tests a study's directions, block after block.

    Attributes:
      reader: of the model's circuits.
      tables: see Tables.
      eps: of the numerical rank.
    """

    reader: Reader
    tables: Tables
    judge: Judge
    options: TokensOptions
    eps: float

    def tested(self, decomposed: Decomposed, found: Sequence[Found]) -> list[Tested]:
        """The directions of a batch of circuits, a side each, under their laws."""
        outline, result = decomposed.circuits, []
        for place, side in enumerate(found):
            law = self.law(outline, side.side)
            read = self.judge.read(side.vectors, side.plus, side.minus, side.projection)
            rank = int(np.median(decomposed.rank))
            # the sign is that of the first side's largest score: the other side's comes as it may
            p = judged(read, law, side.index, rank, oriented=place == 0)
            if self.options.varimax:  # chosen by their scores: no random direction is
                known = ~is_turned(decomposed)[side.circuit, side.index - 1]
                p = Judged(*(np.where(known, values, np.nan) for values in p))
            result.append(Tested(side, read, p, law))
        return result

    def control(self, weights: str, block: int, kind: str) -> tuple[Decomposed, list[Tested]]:
        """The same of a control's weights."""
        change = partial(redrawn, weights, self.options.seed, _CONTROL)
        (circuits,) = self.reader.with_weights(change).read(block, (kind,))
        decomposed = decompose(circuits, self.eps)
        return decomposed, self.tested(decomposed, directions_of(decomposed, self.tables, self.options))

    def law(self, outline: Outline, side: str) -> Law:
        """The law of one side of these circuits."""
        place = outline.sides.index(side)
        fold, rank = self.reader.folds(outline)[place], min(outline.m, outline.n, outline.r)
        rank -= fold.centred and rank == min(outline.m, outline.n)
        indices = chosen(rank, self.options.first, self.options.last) + 1
        if is_uniform(fold):
            return self.judge.law((0, len(indices), fold.centred), self.tables[side], indices, rank, None, fold.centred)
        # gate and up matrices have one law
        kind = "mlp_in" if outline.kind == "mlp_gate" else outline.kind
        name = (1 + outline.block, 1 + KINDS.index(kind), place)

        def frames(rng: np.random.Generator, count: int) -> np.ndarray:
            if drawn[0] is None:
                drawn[0] = flips_of(self._frames(outline, side, indices - 1), fold.centred)
            return drawn[0](rng, count)

        drawn: list[Any] = [None]  # decomposed when the law is drawn, which is once
        return self.judge.law(name, self.tables[side], indices, rank, frames)

    def _frames(self, outline: Outline, side: str, at: np.ndarray) -> np.ndarray:
        """(F, n, d) the directions at these places of Gaussian circuits that went the same way."""
        found: list[np.ndarray] = []
        size = outline.r if outline.factored else min(outline.m, outline.n)
        wanted = next(count for limit, count in _FRAMES if limit is None or size <= limit)
        while sum(map(len, found)) < wanted:
            change = partial(redrawn, GAUSSIAN, self.options.seed, _NULL + 10 * (1 + len(found)))
            (circuits,) = self.reader.with_weights(change).read(outline.block, (outline.kind,))
            found.append(decompose(circuits, self.eps).sides[side][:, at])
        return np.concatenate(found)

    def neurons(self, circuits: Circuits, weights: str) -> Tested | None:
        """Some neurons of an MLP's matrix as directions: rows that read, columns that write; None of other circuits.

        Their sign is their own: that in which the neuron rises, or what it then writes.
        """
        if not circuits.kind.startswith("mlp") or not self.options.neurons:
            return None
        place = 0 if circuits.sides[0] else 1
        side, w = circuits.sides[place], circuits.right[0].T if place == 0 else circuits.right[0]
        rng = np.random.default_rng((self.options.seed, _PICK, circuits.block, KINDS.index(circuits.kind)))
        picked = np.sort(rng.choice(len(w), min(self.options.neurons, len(w)), replace=False))
        norm = np.linalg.norm(w[picked], axis=1, keepdims=True)
        vectors = np.divide(w[picked], norm, out=np.zeros_like(w[picked]), where=norm > 0)
        found = searched(self.tables[side], vectors, picked + 1, side, self.options.tokens)
        fold = self.reader.folds(circuits)[place]
        if is_uniform(fold):
            law = self.law(circuits, side)
        else:
            name = (1 + circuits.block, 0, KINDS.index(circuits.kind))
            draw = partial(_folded_rows, fold, circuits.n)
            law = self.judge.law(name, self.tables[side], np.ones(1, int), 1, draw)
        read = self.judge.read(vectors, found.plus, found.minus, found.projection)
        return Tested(found, read, judged(read, law, found.index, len(w), oriented=False), law)


def searched(table: tuple[Projection, Any], vectors: np.ndarray, index: np.ndarray, side: str, tokens: int) -> Found:
    """Any directions (D, d) with their tokens, as they are turned."""
    top = top_scores(table[1], table[0].onto_table(vectors), tokens)
    none = np.zeros(len(vectors), int)
    return Found(none, index, side, table[0], vectors, top.high, top.high_scores, top.low, top.low_scores)


def is_uniform(fold: Fold) -> bool:
    """Whether Gaussian weights behind this fold have uniformly random directions."""
    return fold.gain is None or bool(np.ptp(fold.gain) == 0)


def _folded_rows(fold: Fold, d: int, rng: np.random.Generator, count: int) -> np.ndarray:
    rows = fold.before(rng.standard_normal((count, d)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True))[:, None]


def direction_columns(tested: Tested, row: int, sign: int) -> dict[str, Any]:
    """What the table `directions` says of a direction besides its tokens."""
    read, p, place = tested.read, tested.p, 0 if sign == 1 else 1
    return {
        "coherence": read.coherence[place, row],
        "p_coherence": p.coherence[place, row],
        "r_frequency": sign * read.frequency[row],
        "p_frequency": p.frequency[row],
        "centroid_signs": read.signs[row],
        "p_centroid_signs": p.signs[row],
    }


def unit_rows(
    tested: Tested, weights: str, unit: str, about: Sequence[Mapping[str, Any]], text: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    """The rows of the table `units`: two of each direction, one a sign.

    Args:
      about: of every circuit of the batch: circuit, block, head, kind.
      text: of the tokens, where they are to be named.
    """
    found = tested.found
    for row, (i, index) in enumerate(zip(found.circuit, found.index, strict=True)):
        for sign, ids in ((1, found.plus[row]), (-1, found.minus[row])):
            named = {"token_ids": ids, "tokens": None if text is None else [text[token] for token in ids]}
            yield {
                **about[i],
                "weights": weights,
                "unit": unit,
                "index": int(index),
                "side": found.side,
                "sign": sign,
                **direction_columns(tested, row, sign),
                **(named if unit != DIRECTION and weights == MODEL else {}),
            }


def side_rows(tested: Tested, weights: str, decomposed: Decomposed, level: float) -> Iterator[dict[str, Any]]:
    """The rows of the table `sides`: how one side of every circuit hangs together."""
    found, read, p = tested.found, tested.read, tested.p
    addresses = decomposed.circuits.addresses
    members = [np.flatnonzero(found.circuit == i) for i in range(len(addresses))]
    across = np.full(len(addresses), np.nan)
    if read.centroids is not None and len({len(rows) for rows in members}) == 1 and len(members[0]):
        across = coherence.mean_cosine_across(np.stack([read.centroids[0][rows] for rows in members]))
    for i, (address, rows) in enumerate(zip(addresses, members, strict=True)):
        within = np.nan if read.centroids is None else coherence.mean_cosine_between(read.centroids[0][rows])
        known = tested.law.within
        yield {
            "circuit": str(address),
            "side": found.side,
            "weights": weights,
            "block": address.block,
            "head": address.head,
            "kind": address.kind,
            "num_tests": int(np.isfinite(p.coherence[:, rows]).sum()),
            "num_at_level": int((p.coherence[:, rows] <= level).sum()),
            "centroid_within": within,
            "centroid_within_null": float(known.mean()) if known.size else np.nan,
            "p_centroid_within": float(coherence.exceedance(within, known)) if known.size else np.nan,
            "centroid_across": across[i],
            "centroid_across_null": tested.law.across,
        }


def decay_columns(s: np.ndarray, rank: int, prefix: str = "") -> dict[str, float]:
    """The exponential fit of a circuit's spectrum, up to its rank."""
    fit = fit_decay(s, rank)
    return {
        f"{prefix}decay_length": fit.length,
        f"{prefix}decay_r_squared": fit.r_squared,
        f"{prefix}decay_deviation": fit.deviation,
    }
