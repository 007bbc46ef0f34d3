"""The closed loop: the top tokens of a direction, taken as a query, should find that direction.

Beside each direction stands a random one, isotropic, whose top tokens are found by the same projection: what of the
cosine the geometry of the projection gives to any vector at all.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from eigensweep.engine.run.progress import OnProgress
from eigensweep.engine.spectral.queries import unit
from eigensweep.engine.studies.tracing.directions import Side, Tables, blocks, count, query_vector, sides
from eigensweep.engine.studies.tracing.options import TraceOptions
from eigensweep.models.circuits import Reader

_CHUNK = 64  # directions whose scores are held at a time
_SAME = 1e-9  # rounding between two ways to the same cosine


def closed_loop(
    reader: Reader, tables: Tables, inverse: np.ndarray, options: TraceOptions, on_progress: OnProgress
) -> list[dict[str, Any]]:
    """Trace directions, drawn without replacement from all sides and blocks, by their own top tokens.

    Args:
      inverse: (U^T U)^+ of the unembedding.

    Returns:
      Rows of LOOP, in model order.
    """
    rng = np.random.default_rng(options.seed)
    total = count(reader)
    chosen = np.sort(rng.choice(total, min(options.closed_loop, total), replace=False))
    signs = rng.choice((-1, 1), len(chosen))
    rows: list[dict[str, Any]] = []
    queries, own, random_queries, random_own = ([] for _ in range(4))
    start = 0
    for block in blocks(reader, "querying", on_progress):
        for side in sides(reader, block):
            stop = start + len(side.vectors)
            at = slice(*np.searchsorted(chosen, (start, stop)))
            picked, turned = chosen[at] - start, signs[at]
            start = stop
            if not len(picked):
                continue
            vectors = side.vectors[picked] * turned[:, None]
            drawn = unit(rng.standard_normal(vectors.shape))
            for vector, cosines, found in ((vectors, own, queries), (drawn, random_own, random_queries)):
                q = _own_queries(vector, side.name, tables, inverse, options.loop_tokens)
                found.append(q)
                cosines.append(np.sum(vector * q, axis=1))
            rows += _rows(side, picked, turned)
    if not rows:
        return rows
    ranks = _ranks(reader, np.concatenate(queries), np.concatenate(own), on_progress)
    random_ranks = _ranks(reader, np.concatenate(random_queries), np.concatenate(random_own), on_progress)
    for i, (row, cosine, random) in enumerate(zip(rows, np.concatenate(own), np.concatenate(random_own), strict=True)):
        row |= {"cosine": float(cosine), "rank": int(ranks[i])}
        row |= {"random_cosine": float(random), "random_rank": int(random_ranks[i])}
    return rows


def _rows(side: Side, picked: np.ndarray, signs: np.ndarray) -> Iterator[dict[str, Any]]:
    for i, sign in zip(picked.tolist(), signs.tolist(), strict=True):
        address = side.address(i)
        yield {
            "direction": str(address), "block": address.block, "head": address.head, "kind": address.kind,
            "index": address.index, "side": side.name, "sign": sign, "s": float(side.s[i]),
        }  # fmt: skip


def _own_queries(vectors: np.ndarray, side: str, tables: Tables, inverse: np.ndarray, size: int) -> np.ndarray:
    """(k, d) the query of each vector's own `size` highest tokens."""
    found = []
    for i in range(0, len(vectors), _CHUNK):
        scores = tables.scores(vectors[i : i + _CHUNK], side)
        ids = np.argpartition(-scores, min(size, scores.shape[1]) - 1, axis=1)[:, :size]
        found.append(query_vector(tables, inverse, ids))
    return np.concatenate(found)


def _ranks(reader: Reader, queries: np.ndarray, own: np.ndarray, on_progress: OnProgress) -> np.ndarray:
    """(N,) 1 + how many directions, at either sign, have a larger cosine to a query than its own direction."""
    larger = np.zeros(len(queries), np.int64)
    for block in blocks(reader, "ranking", on_progress):
        for side in sides(reader, block):
            cosines = side.vectors @ queries.T  # (k, N)
            for sign in (1, -1):
                larger += np.sum(sign * cosines > own + _SAME, axis=0)
    return 1 + larger
