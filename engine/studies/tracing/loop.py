"""The closed loop: the top tokens of a direction, taken as a query, should find that direction.

Beside each direction stands a random one, isotropic, whose top tokens are found by the same projection: what of the
cosine the geometry of the projection gives to any vector at all.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from eigensweep.engine.run.progress import OnProgress
from eigensweep.engine.spectral.queries import unit
from eigensweep.engine.studies.tracing.directions import Side, Tables, blocks, count, sides
from eigensweep.engine.studies.tracing.options import TraceOptions
from eigensweep.engine.studies.tracing.vectors import QueryVectors
from eigensweep.models.circuits import Reader

_SAME = 1e-9  # rounding between two ways to the same cosine


def closed_loop(
    reader: Reader, tables: Tables, query: QueryVectors, options: TraceOptions, on_progress: OnProgress
) -> list[dict[str, Any]]:
    """Trace directions, drawn without replacement from all sides and blocks, by their own top tokens.

    Returns:
      Rows of LOOP, in model order.
    """
    rng, total = np.random.default_rng(options.seed), count(reader)
    chosen = np.sort(rng.choice(total, min(options.closed_loop, total), replace=False))
    signs = rng.choice((-1, 1), len(chosen))
    rows: list[dict[str, Any]] = []
    queries: dict[str, list[np.ndarray]] = {"": [], "random_": []}
    start = 0
    for block in blocks(reader, "querying", on_progress):
        for side in sides(reader, block):
            at = slice(*np.searchsorted(chosen, (start, start + len(side.vectors))))
            picked, start = chosen[at] - start, start + len(side.vectors)
            if not len(picked):
                continue
            vectors = side.vectors[picked] * signs[at, None]
            found = list(_rows(side, picked, signs[at]))
            for name, one in (("", vectors), ("random_", unit(rng.standard_normal(vectors.shape)))):
                q, cosines = _own_queries(one, side.name, tables, query, options.loop_tokens)
                queries[name].append(q)
                for row, cosine in zip(found, cosines.tolist(), strict=True):
                    row[f"{name}cosine"] = cosine
            rows += found
    if rows:
        both = np.concatenate([*queries[""], *queries["random_"]])  # (2 N, sides, d)
        own = np.array([row[f"{name}cosine"] for name in queries for row in rows])
        ranks = _ranks(reader, both, own, on_progress).reshape(2, -1).tolist()
        for row, rank, random in zip(rows, *ranks, strict=True):
            row |= {"rank": rank, "random_rank": random}
    return rows


def _rows(side: Side, picked: np.ndarray, signs: np.ndarray) -> Iterator[dict[str, Any]]:
    for i, sign in zip(picked.tolist(), signs.tolist(), strict=True):
        address = side.address(i)
        yield {
            "direction": str(address), "block": address.block, "head": address.head, "kind": address.kind,
            "index": address.index, "side": side.name, "sign": sign, "s": float(side.s[i]),
        }  # fmt: skip


def _own_queries(
    vectors: np.ndarray, side: str, tables: Tables, query: QueryVectors, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The queries (k, sides, d) of each vector's own `size` highest tokens, and their cosines (k,) to the vectors."""
    queries = query(tables.top(vectors, side, size).high)
    return queries, np.sum(vectors * queries[:, query.which(side)], axis=1)


def _ranks(reader: Reader, queries: np.ndarray, own: np.ndarray, on_progress: OnProgress) -> np.ndarray:
    """(N,) 1 + how many directions, at either sign, have a larger cosine to a query than its own direction."""
    larger = np.zeros(len(queries), np.int64)
    for block in blocks(reader, "ranking", on_progress):
        for side in sides(reader, block):
            cosines = side.vectors @ queries[:, QueryVectors.which(side.name)].T  # (k, N)
            for sign in (1, -1):
                larger += np.sum(sign * cosines > own + _SAME, axis=0)
    return 1 + larger
