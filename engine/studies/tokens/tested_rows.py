"""Rows of what is tested: the controls of a block's circuits, its neurons, the directions of the embedding."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from eigensweep.engine.spectral.frames import uniform_frames
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg
from eigensweep.engine.studies.tokens.directions import chosen
from eigensweep.engine.studies.tokens.judging import Judge, judged
from eigensweep.engine.studies.tokens.options import TokensOptions
from eigensweep.engine.studies.tokens.records import Decomposed, Found
from eigensweep.engine.studies.tokens.testing import (
    DIRECTION,
    EMBEDDING,
    GAUSSIAN,
    MODEL,
    NEURON,
    SIGNS,
    Tables,
    Tested,
    Tester,
    decay_columns,
    direction_columns,
    redrawn,
    searched,
    side_rows,
    unit_rows,
)

EMBEDDING_UNIT = "embedding"
"""The unit of work that is no block."""
_SLAB = 1 << 14  # tokens at a time
Columns = Callable[[int, int], Mapping[str, Any]]


def tested_rows(
    tester: Tester | None, decomposed: Decomposed, found: Sequence[Found], text: Sequence[str] | None
) -> tuple[list[dict[str, Any]], list[Columns], dict[str, list[dict[str, Any]]]]:
    """One kind of circuit of one block: what its tests add to the tables.

    Returns:
      columns of every circuit; for each side what gives the columns of a direction and sign; rows of further tables.
    """
    decays = [decay_columns(s, int(rank)) for s, rank in zip(decomposed.s, decomposed.rank, strict=True)]
    if tester is None:
        return decays, [lambda row, sign: {}] * len(found), {}
    circuits, level = decomposed.circuits, tester.options.coherence_level
    own = tester.tested(decomposed, found)
    about = [{"circuit": str(a), "block": a.block, "head": a.head, "kind": a.kind} for a in circuits.addresses]
    units: list[dict[str, Any]] = []
    sides = [row for tested in own for row in side_rows(tested, MODEL, decomposed, level)]
    neurons = tester.neurons(circuits, MODEL)
    units += [] if neurons is None else unit_rows(neurons, MODEL, NEURON, about, text)
    for weights in tester.options.controls:
        other, tests = tester.control(weights, circuits.block, circuits.kind)
        for tested in tests:
            units += unit_rows(tested, weights, DIRECTION, about, None)
            sides += side_rows(tested, weights, other, level)
        neurons = tester.neurons(other.circuits, weights)
        units += [] if neurons is None else unit_rows(neurons, weights, NEURON, about, None)
        if weights == GAUSSIAN:
            for decay, s, rank in zip(decays, other.s, other.rank, strict=True):
                decay |= decay_columns(s, int(rank), "gaussian_")
    return decays, [partial(direction_columns, tested) for tested in own], {"units": units, "sides": sides}


def embedding_rows(
    judge: Judge, tables: Tables, options: TokensOptions, text: Sequence[str] | None
) -> list[dict[str, Any]]:
    """The rows of the table `units` of the eigenvectors of the covariance of the embedding's rows over the tokens; of
    the unembedding's where no side is read by the embedding."""
    side = min(tables, key=lambda side: tables[side][0].name != "embedding")
    projection, d = tables[side][0], tables[side][0].width
    picked = chosen(d, options.first, options.last)
    law = judge.law((0, len(picked), False), tables[side], picked + 1, d, None)
    rows: list[dict[str, Any]] = []
    for weights in (MODEL, *options.controls):
        if weights == GAUSSIAN:
            vectors = uniform_frames(np.random.default_rng((options.seed, 9)), 1, len(picked), d)[0]
        else:
            change = partial(redrawn, SIGNS, options.seed, 1) if weights == SIGNS else lambda path, w: w
            vectors = _axes(projection, change)[picked]
        found = searched(tables[side], vectors, picked + 1, side, options.tokens)
        read = judge.read(vectors, found.plus, found.minus, projection)
        tested = Tested(found, read, judged(read, law, found.index, d, oriented=False), law)
        about = {"circuit": projection.name, "block": None, "head": None, "kind": projection.name}
        rows += unit_rows(tested, weights, EMBEDDING, [about], text if weights == MODEL else None)
    return rows


def _axes(projection: Any, change: Callable[[str, np.ndarray], np.ndarray]) -> np.ndarray:
    """(d, d) eigenvectors as rows, of the largest eigenvalue first, in one pass over the table."""
    d = projection.width
    count, total, gram = 0, np.zeros(d), np.zeros((d, d))
    for start in range(0, projection.vocab_size, _SLAB):
        rows = np.asarray(change(f"rows {start}", projection.rows(start, start + _SLAB)), np.float64)
        count, total, gram = count + len(rows), total + rows.sum(axis=0), gram + rows.T @ rows
    mean = total / count
    return np.linalg.eigh(gram - count * np.outer(mean, mean))[1].T[::-1]


def with_rejections(tables: dict[str, pa.Table], level: float) -> dict[str, pa.Table]:
    """The tables with `rejected` filled: over all directions; in `units` over the rows of the same weights and unit."""
    found = dict(tables)
    directions, units = tables["directions"], tables["units"]
    p = _numbers(directions, "p_coherence")
    found["directions"] = _filled(directions, benjamini_hochberg(p, level), p)
    p = _numbers(units, "p_coherence")
    family = np.array([f"{w} {u}" for w, u in zip(*(units[x].to_pylist() for x in ("weights", "unit")), strict=True)])
    rejected = np.zeros(len(p), bool)
    for name in set(family.tolist()):
        rejected[family == name] = benjamini_hochberg(p[family == name], level)
    found["units"] = _filled(units, rejected, p)
    return found


def _numbers(table: pa.Table, column: str) -> np.ndarray:
    return np.array([np.nan if x is None else x for x in table[column].to_pylist()], np.float64)


def _filled(table: pa.Table, rejected: np.ndarray, p: np.ndarray) -> pa.Table:
    place = table.schema.get_field_index("rejected")
    return table.set_column(place, table.schema.field(place), pa.array(rejected, pa.bool_(), mask=np.isnan(p)))
