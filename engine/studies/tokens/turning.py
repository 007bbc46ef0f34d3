"""Varimax inside spans: of directions of which only the span is determined, the basis whose scores are sparsest."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from eigensweep.engine.spectral.varimax import varimax
from eigensweep.engine.studies.tokens.records import Decomposed
from eigensweep.models.circuits import Projection

MOST_TURNED = 16  # directions of a span: of hundreds any basis can be had
MOST_TOKENS = 2048  # whose scores decide, evenly over their numbers


def turned(decomposed: Decomposed, projections: Mapping[str, tuple[Projection, Any]]) -> Decomposed:
    """The same with the directions of every group of 2 to MOST_TURNED turned, those of both sides by one rotation."""
    sides = {name: vectors.copy() for name, vectors in decomposed.sides.items()}
    tables = {name: _some_rows(projections[name][0]) for name in sides}
    for i, members in _groups(decomposed):
        scores = [projections[name][0].onto_table(x[i, members]) @ tables[name].T for name, x in sides.items()]
        rotation = varimax(np.concatenate([s / np.sqrt(np.square(s).mean()) for s in scores], axis=1).T)
        for x in sides.values():
            x[i, members] = rotation.T @ x[i, members]
    return replace(decomposed, sides=sides)


def is_turned(decomposed: Decomposed) -> np.ndarray:
    """(H, k) which directions `turned` turns."""
    found = np.zeros(decomposed.s.shape, bool)
    for i, members in _groups(decomposed):
        found[i, members] = True
    return found


def _groups(decomposed: Decomposed) -> Iterator[tuple[int, np.ndarray]]:
    spans = decomposed.spans
    for i in range(len(decomposed.s)):
        for first in np.unique(spans.group[i, : decomposed.rank[i]]):
            members = np.flatnonzero(spans.group[i] == first)
            if 2 <= len(members) <= MOST_TURNED:
                yield i, members


def _some_rows(projection: Projection) -> np.ndarray:
    count = min(MOST_TOKENS, projection.vocab_size)
    return np.asarray(projection.table[np.linspace(0, projection.vocab_size - 1, count).astype(int)], np.float64)
