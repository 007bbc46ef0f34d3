"""What the page holds of a tokens run: every circuit's readings, and of its directions as many as there is room for.

A large model has a hundred times as many tokens as a page can hold. Where not all fit, a circuit keeps the directions
at both ends of its spectrum, two of its first for one of its last, and fewer tokens of each; the page says so. Scores
are stored as 255ths of the largest of their list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eigensweep.engine.tables.check import SUMS
from eigensweep.engine.tables.result import Result

ROOM = 250_000  # tokens on a page, about three bytes each after compression
FEWEST = 6  # tokens of a list on the page, whatever the size of the run
_ENOUGH = 10  # directions a circuit and side for which tokens of each are given up
_TESTED = ("p_coherence", "rejected")


@dataclass(frozen=True)
class Kept:
    """What of the table `directions` the page holds.

    Attributes:
      rows: (N, 2) of the directions kept, their rows of sign 1 and -1; ordered by circuit, side and index.
      tokens: of each list.
      total: directions of the run, each side for itself.
      lengths: tokens of a list in the table.
    """

    rows: np.ndarray
    tokens: int
    total: int
    lengths: int


def kept(directions: pa.Table) -> Kept:
    """Choose what of the directions the page holds."""
    circuit, side = (_codes(directions[name]) for name in ("circuit", "side"))
    index, sign = (directions[name].to_numpy() for name in ("index", "sign"))
    order = np.lexsort((-sign, index, side, circuit))
    rows = order.reshape(-1, 2)  # each has both signs
    lengths = int(pc.min(pc.list_value_length(directions["token_ids"])).as_py() or 0) if len(rows) else 0
    first = rows[:, 0]
    name = circuit[first] * (side.max(initial=0) + 1) + side[first]
    starts = np.flatnonzero(np.r_[True, name[1:] != name[:-1]])
    counts = np.diff(np.r_[starts, len(rows)])
    place = np.arange(len(rows)) - np.repeat(starts, counts)
    tokens, most = _room(counts, lengths)
    left = np.repeat(counts, counts) - place
    last = most // 3
    return Kept(rows[(place < most - last) | (left <= last)], tokens, len(rows), lengths)


def _room(counts: np.ndarray, lengths: int) -> tuple[int, int]:
    """Tokens of each list, and directions of each circuit and side."""
    largest = int(counts.max(initial=1))
    for tokens in (lengths, lengths // 2):
        most = next((n for n in range(largest, 0, -1) if 2 * tokens * np.minimum(counts, n).sum() <= ROOM), 0)
        if tokens >= FEWEST and most >= min(largest, _ENOUGH):
            return tokens, most
    tokens = min(lengths, FEWEST)
    return tokens, max(1, int(ROOM / (2 * max(1, tokens) * max(1, len(counts)))))


def page_data(found: Result) -> dict[str, Any]:
    """What the page's view of a tokens run draws; arrays are one-dimensional, directions in `Kept`'s order."""
    circuits, directions = found.tables["circuits"], found.tables["directions"]
    chosen = kept(directions)
    order = {name: i for i, name in enumerate(circuits["circuit"].to_pylist())}
    plus = directions.take(pa.array(chosen.rows[:, 0]))
    flat = directions.take(pa.array(chosen.rows.ravel()))
    ids, scores = (_square(flat[name], chosen.lengths)[:, : chosen.tokens] for name in ("token_ids", "scores"))
    words, places = _words(flat, ids, chosen)
    scale = np.abs(scores).max(axis=1, initial=0.0)
    codes = np.rint(
        255 * np.divide(np.abs(scores), scale[:, None], out=np.zeros_like(scores), where=scale[:, None] > 0)
    )
    return {
        "of": str(found.manifest.get(SUMS, {}).get("directions.parquet", "")),
        "total": chosen.total,
        "lengths": chosen.lengths,
        "count": len(chosen.rows),
        "tokens": chosen.tokens,
        "circuits": {
            **{name: _numbers(circuits[name]) for name in ("block", "head", "rank", "stable_rank")},
            "name": circuits["circuit"].to_pylist(),
            "kind": circuits["kind"].to_pylist(),
        },
        "measures": _measures(circuits, directions, order),
        "directions": {
            "circuit": np.array([order[name] for name in plus["circuit"].to_pylist()], np.uint32),
            "side": _sides(plus),
            **{name: _numbers(plus[name]) for name in ("index", "s", "gap", "least_gap", "group", "group_size")},
        },
        "lists": {
            "scale": scale.astype(np.float32),
            "negative": (scores[:, 0] < 0).astype(np.uint8) if scores.size else np.empty(0, np.uint8),
            **{name: _numbers(flat[name]) for name in _TESTED if name in flat.column_names},
        },
        "places": places.ravel(),
        "codes": codes.astype(np.uint8).ravel(),
        "words": words,
    }


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Texts as numbers, in the order in which they come first."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy()


def _square(column: pa.ChunkedArray, length: int) -> np.ndarray:
    """Lists of at least `length` entries as an array of rows of that many."""
    sizes = pc.list_value_length(column).to_numpy()
    values = pc.list_flatten(column).to_numpy()
    starts = np.cumsum(sizes) - sizes
    return values[starts[:, None] + np.arange(length)]


def _words(flat: pa.Table, ids: np.ndarray, chosen: Kept) -> tuple[Sequence[str], np.ndarray]:
    """The tokens' texts, each once (their numbers where there is no text), and for every token its place there."""
    known, places = np.unique(ids, return_inverse=True)
    kind = np.uint16 if len(known) < 65536 else np.uint32
    texts = [str(token) for token in known]
    if "tokens" in flat.column_names and not flat["tokens"].null_count:
        first = np.full(len(known), -1, np.int64)
        all_ids = _square(flat["token_ids"], chosen.lengths)
        offsets = np.arange(all_ids.shape[0])[:, None] * chosen.lengths + np.arange(chosen.tokens)
        first[places.ravel()] = offsets.ravel()
        texts = pc.list_flatten(flat["tokens"]).take(pa.array(first)).to_pylist()
    return texts, places.astype(kind)


def _sides(plus: pa.Table) -> dict[str, Any]:
    encoded = plus["side"].combine_chunks().dictionary_encode()
    return {"words": encoded.dictionary.to_pylist(), "places": encoded.indices.to_numpy().astype(np.uint8) + 1}


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32)


def _measures(circuits: pa.Table, directions: pa.Table, order: Mapping[str, int]) -> list[dict[str, Any]]:
    """What a cell of the grid can be coloured by: a value a circuit, NaN where there is none; the usual one first."""
    place = np.array([order[name] for name in directions["circuit"].to_pylist()])
    found = []

    def share(name: str, label: str, doc: str, of: np.ndarray) -> None:
        known = np.isfinite(of)
        counts = np.bincount(place[known], minlength=len(order))
        total = np.bincount(place[known], of[known], minlength=len(order))
        with np.errstate(invalid="ignore"):
            values = (total / np.where(counts, counts, np.nan)).astype(np.float32)
        found.append({"name": name, "label": label, "doc": doc, "values": values})

    if "rejected" in directions.column_names and directions["rejected"].null_count < len(directions):
        share(
            "coherent", "share of coherent directions", "lists of tokens that hang together beyond those of random "
            "directions (Benjamini-Hochberg), of all lists of the circuit", _numbers(directions["rejected"]),
        )  # fmt: skip
    if "num_right_beyond_signs" in circuits.column_names:
        values = _numbers(circuits["num_right_beyond_signs"]) / np.maximum(_numbers(circuits["rank"]), 1)
        doc = "singular values larger than random signs for the same entries explain (a lower bound), over the rank"
        found.append({"name": "signs", "label": "share of values beyond random signs", "doc": doc, "values": values})
    alone = _numbers(directions["group_size"]) == 1
    share(
        "alone", "share of directions that stand alone", "directions whose gaps to their neighbours are wider than the "
        "noise of the entries moves them; of the others only a span is determined", alone.astype(float),
    )  # fmt: skip
    doc = "sum of all s² over the largest"
    values = _numbers(circuits["stable_rank"])
    found.append({"name": "stable_rank", "label": "stable rank", "doc": doc, "values": values})
    return found
