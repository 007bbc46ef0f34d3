"""The units of a facts study that tell what changes with depth: norms, the stream block by block, the data, ranks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array

from eigensweep.engine.studies.data import tokenizer_of
from eigensweep.engine.studies.facts import dataset, norms, ranks, stream
from eigensweep.engine.studies.facts.described import unit_of
from eigensweep.models import Checkpoint, Matrix, data, nn

STREAM, DATASET, POOLED = "depth/stream", "depth/dataset", "depth/ranks"
TABLES = {
    "norms": norms.NORMS,
    "ranks": ranks.RANKS,
    "pooled_ranks": ranks.POOLED,
    **stream.TABLES,
    "dataset_covariance": dataset.DATASET,
}
NEEDED = {
    "norms": ("name", "frobenius", "spectral"),
    "ranks": ("what", "name", "role", "num_ranks", "values", "power_law"),
    "pooled_ranks": ("what", "role", "n", "blocks", "num_ranks", "power_law"),
    "stream_covariances": ("place", "block", "d", "num_tokens", "num_axes", "evals"),
    "stream_directions": ("place", "kind", "block", "num_tokens", "standard_error", "kurtosis"),
    "stream_cosines": ("block", "other", "cosine", "cosine_centred"),
    "stream_sample": ("place", "position", "block", "token", "values"),
    "dataset_covariance": ("order", "num_sequences", "length", "num_tokens", "total", "evals"),
}
Rows = dict[str, list[dict[str, Any]]]


def matrix_units(checkpoint: Checkpoint) -> dict[str, list[Matrix]]:
    """Unit -> its matrices, a block each and one for those outside, in model order."""
    units: dict[str, list[Matrix]] = {}
    for matrix in checkpoint.matrices:
        units.setdefault(f"depth/{unit_of(matrix.path or matrix.name)}", []).append(matrix)
    return units


def norm_rows(checkpoint: Checkpoint, matrices: Sequence[Matrix]) -> Rows:
    """Rows of a unit of `matrix_units`."""
    found, plots = norms.weight_rows(checkpoint, matrices)
    return {"norms": found, "ranks": plots}


def dataset_rows(tokens: np.ndarray, options: Any) -> Rows:
    """Rows of DATASET."""
    name = options.data or options.format
    found, plots = dataset.dataset_rows(tokens, name, options.presence, options.seed)
    return {"dataset_covariance": found, "ranks": plots}


def pooled(rows: Sequence[Mapping[str, Any]], seed: int) -> Rows:
    """Rows of POOLED, from all rank plots."""
    return {"pooled_ranks": ranks.pooled_rows(rows, seed)}


@dataclass
class Visitor:
    """Takes the stream out of the taps of a pass, and gives the rows of STREAM when it has seen all places."""

    facts: stream.StreamFacts
    num_batches: int
    write: Callable[[str, Rows], None]

    def __post_init__(self) -> None:
        self._rows: Rows = {table: [] for table in (*stream.TABLES, "ranks")}

    def visit(self, number: int, taps: Mapping[str, Array]) -> None:
        """Batch `number`'s activations of one block."""
        last = self.facts.num_blocks
        places = {int(tap.split("/")[1]): tap for tap in taps if tap.endswith("/stream/before")}
        if stream.place_of(last, last) in taps:  # behind what entered the last block
            places[last] = stream.place_of(last, last)
        for block, tap in places.items():
            self._take(number, block, taps[tap])

    def _take(self, number: int, block: int, x: Array) -> None:
        for table, rows in self.facts.take(number, block, x).items():
            self._rows[table] += rows
        if block == self.facts.num_blocks and number == self.num_batches - 1:
            self.write(STREAM, self._rows | {"stream_cosines": self.facts.cosines()})


def visitor(
    checkpoint: Checkpoint, model: nn.Model, batches: list[data.Rows], options: Any, write: Callable[[str, Rows], None]
) -> Visitor:
    """What takes the stream of a pass over these batches."""
    first = batches[0].input_ids[0][batches[0].attention_mask[0]]
    tokens = tokenizer_of(checkpoint, options.tokenizer).convert_ids_to_tokens(first.tolist())
    architecture = model.architecture
    facts = stream.StreamFacts(batches, architecture.num_blocks, architecture.width, options.seed, tokens)
    return Visitor(facts, len(batches), write)
