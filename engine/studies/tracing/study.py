"""Query tracing: cosines of a query's vector with every direction of a model, a block at a time.

q = mean over the query's tokens t of pinv(U) e_t, U the unembedding with the final norm folded in, so that U q is as
near as can be to the query's tokens alone (Millidge & Black 2022). A direction is a hit where |cos| > 4.8/sqrt(d), both
signs and all sides looked at. Memory: a block of the model and the two projections.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eigensweep.engine.run.progress import OnProgress, silent
from eigensweep.engine.spectral.queries import threshold
from eigensweep.engine.studies.data import tokenizer_of
from eigensweep.engine.studies.tracing.columns import HITS, LOOP
from eigensweep.engine.studies.tracing.directions import Side, Tables, blocks, open_tables, sides
from eigensweep.engine.studies.tracing.loop import closed_loop
from eigensweep.engine.studies.tracing.options import TraceOptions
from eigensweep.engine.studies.tracing.vectors import QueryVectors
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.files import write_json, write_table
from eigensweep.models import Checkpoint
from eigensweep.models.circuits import Address, Reader, open_circuits
from eigensweep.models.data import check_vocabulary, token_texts
from eigensweep.models.data.words import encode_words
from eigensweep.models.errors import printable

_APART = (
    "embedding and unembedding are tables of their own, and the query's vector is one of the unembedding: take "
    "--config.vector=side to hold what is read against the embedding"
)


@dataclass(frozen=True)
class Trace:
    """What a trace found.

    Attributes:
      hits: one row a query and hit, by falling |cosine|.
      loop: one row a direction of the closed loop; None where it was not asked for.
      manifest: checkpoint, options, threshold, and of every query its tokens and the number of hits.
    """

    hits: pa.Table
    loop: pa.Table | None
    manifest: dict[str, Any]


@dataclass(frozen=True)
class _Hit:
    side: Side = field(repr=False)  # of this row alone
    address: Address
    cosine: float


def run_trace(
    checkpoint: Checkpoint,
    texts: Sequence[str],
    options: TraceOptions,
    workdir: str = "",
    on_progress: OnProgress = silent,
) -> Trace:
    """Trace queries through a model, and directions by their own tokens where `closed_loop` asks for it.

    Args:
      checkpoint: with a tokenizer, of an architecture with known circuits.
      texts: a query each, "fire, flame, burning".
      workdir: where trace.parquet, trace_loop.parquet and trace.json go; "" for nowhere.
      on_progress: is told of every finished block.

    Raises:
      DataError: no tokenizer, another model's, an empty query, a word without tokens.
      CheckpointError: circuits or projections that are not known.
      RunError: `workdir` cannot be written.
    """
    reader, tokenizer = open_circuits(checkpoint, options.fold), tokenizer_of(checkpoint, options.tokenizer)
    check_vocabulary(tokenizer, reader.architecture.vocab_size, checkpoint.source.name)
    words = [encode_words(tokenizer, text) for text in texts]
    tables = open_tables(checkpoint, options.fold)
    ids = [np.array([i for word in query.values() for i in word]) for query in words]
    names = [printable(text) for text in token_texts(tokenizer, reader.architecture.vocab_size)]
    query = QueryVectors(tables, options.vector)
    vectors = np.array([query(i) for i in ids])  # (queries, sides, d)
    limit = options.threshold or min(threshold(reader.architecture.width), 1.0)
    found, counts = _hits(reader, vectors, limit, options.max_hits, on_progress) if len(ids) else ([], [])
    rows = [
        {"query": text, "query_tokens": [names[i] for i in query], **row}
        for text, query, hits in zip(texts, ids, found, strict=True)
        for row in _rows(hits, tables, names, options.top_tokens)
    ]
    loop = None
    if options.closed_loop:
        loop = to_table(LOOP, closed_loop(reader, tables, query, options, on_progress))
    notes = [*reader.notes]
    if options.vector == "unembedding" and tables.apart:
        notes.append(_APART)
    manifest = {
        "checkpoint": checkpoint.identity, "options": options.to_json(), "threshold": limit, "notes": notes,
        "queries": [{"query": text, "tokens": [names[i] for i in query], "hits": n}
                    for text, query, n in zip(texts, ids, counts, strict=True)],
    }  # fmt: skip
    trace = Trace(to_table(HITS, rows), loop, manifest)
    if workdir:
        _write(trace, Path(workdir))
    return trace


def _hits(
    reader: Reader, vectors: np.ndarray, limit: float, most: int, on_progress: OnProgress
) -> tuple[list[list[_Hit]], list[int]]:
    """Of every query the `most` hits of largest |cosine|, and how many there are in all."""
    best: list[list[_Hit]] = [[] for _ in vectors]
    counts = [0] * len(vectors)
    for block in blocks(reader, "tracing", on_progress):
        for side in sides(reader, block):
            cosines = side.vectors @ vectors[:, QueryVectors.which(side.name)].T  # (k, queries)
            for row, query in zip(*np.nonzero(np.abs(cosines) > limit), strict=True):
                alone = Side(side.circuit, side.name, side.s[row, None], side.vectors[row, None].copy(),
                             side.leading[row, None].copy(), side.leading_name)  # fmt: skip
                best[query].append(_Hit(alone, side.address(int(row)), float(cosines[row, query])))
                counts[query] += 1
        best = [sorted(hits, key=lambda hit: -abs(hit.cosine))[:most] for hits in best]
    return best, counts


def _rows(hits: Sequence[_Hit], tables: Tables, names: Sequence[str], top: int) -> Iterator[dict[str, Any]]:
    """Hits as rows of the table, with the tokens of the end at which each was hit."""
    for hit in hits:
        side, address = hit.side, hit.address
        canonical = int(tables.signs(side.leading, side.leading_name)[0])
        sign = canonical if hit.cosine > 0 else -canonical
        found = tables.top(side.vectors * np.sign(hit.cosine), side.name, top)
        yield {
            "direction": str(address), "block": address.block, "head": address.head, "kind": address.kind,
            "index": address.index, "side": side.name, "sign": sign, "s": float(side.s[0]),
            "cosine": abs(hit.cosine), "tokens": [names[i] for i in found.high[0]],
            "scores": found.high_scores[0].tolist(),
        }  # fmt: skip


def _write(trace: Trace, workdir: Path) -> None:
    write_table(workdir / "trace.parquet", trace.hits)
    if trace.loop is not None:
        write_table(workdir / "trace_loop.parquet", trace.loop)
    write_json(workdir / "trace.json", trace.manifest)
