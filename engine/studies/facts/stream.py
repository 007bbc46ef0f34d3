"""What the facts study says of the residual stream by depth: covariances, distributions along directions, cosines.

Moments are those of all tokens. What needs the tokens themselves (fourth moments along directions that are known only
when all have been seen, cosines between places) is taken from a sample, evenly spaced among the tokens of the data and
the same at every place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jax import Array

from eigensweep.engine.spectral import covariance, projections
from eigensweep.engine.spectral.covariance import Moments
from eigensweep.engine.studies.facts.ranks import rank_row
from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, Column
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import data

MOST_TOKENS = 8192  # sampled; the standard error of a Gaussian's excess kurtosis is then 0.054
HOST_BYTES = 1 << 29  # of the sampled tokens of all places together
DIRECTIONS = 128  # random ones, and principal ones
KINDS = ("dimension", "random", "principal", "pooled", "standardised")
SAMPLE_TOKENS = 32  # of the text that is shown; fewer where they would take more than SAMPLE_BYTES
SAMPLE_BYTES = 1 << 24

_PLACE = Column(TEXT, "", "where in the stream: blocks/3/stream/before; behind the last block blocks/L/stream/after")
_BLOCK = Column(COUNT, "", "blocks before it: 0 for the embedding, L behind the last block")
COVARIANCES = {
    "place": _PLACE,
    "block": _BLOCK,
    "d": Column(COUNT, "", "dimensions"),
    "num_tokens": Column(COUNT, "", "tokens in the means"),
    "num_axes": Column(COUNT, "", "eigenvalues above rounding, evals_j > d eps evals_1"),
    "mean_share": Column(FLOAT, "", "|mean x|^2 / mean |x|^2: what all tokens have in common"),
    "evals": Column(LIST, "[x]^2", "eigenvalues of the covariance mean (x - mean x)(x - mean x)^T, descending"),
}
DIRECTIONS_TABLE = {
    "place": _PLACE,
    "block": _BLOCK,
    "kind": Column(
        TEXT, "",
        "dimension: each by itself; random: isotropic directions; principal: eigenvectors of the covariance; pooled: "
        "all dimensions' values together; standardised: the same, each dimension with mean 0 and variance 1",
    ),
    "num_tokens": Column(COUNT, "", "tokens sampled, evenly spaced among those of the data"),
    "standard_error": Column(FLOAT, "", "sqrt(24/tokens): of the excess kurtosis of independent Gaussian values"),
    "median": Column(FLOAT, "", "of the excess kurtoses"),
    "low": Column(FLOAT, "", "their 5 % quantile"),
    "high": Column(FLOAT, "", "their 95 % quantile"),
    "kurtosis": Column(LIST, "", "mean (z - mean z)^4 / var(z)^2 - 3 of z = x . v over tokens, a direction each"),
}  # fmt: skip
COSINES = {
    "block": _BLOCK,
    "other": Column(COUNT, "", "the same of the other place"),
    "cosine": Column(FLOAT, "", "mean over tokens of cos(x, x') of the same token at both places"),
    "cosine_centred": Column(FLOAT, "", "the same less each place's mean over tokens"),
    "num_tokens": Column(COUNT, "", "tokens sampled"),
}
SAMPLE = {
    "place": _PLACE,
    "block": _BLOCK,
    "position": Column(COUNT, "", "of the token in the first row of the data"),
    "token": Column(TEXT, "", "as the tokenizer writes it"),
    "values": Column(LIST, "[x]", "x, dimension by dimension, float32"),
}
TABLES = {
    "stream_covariances": COVARIANCES,
    "stream_directions": DIRECTIONS_TABLE,
    "stream_cosines": COSINES,
    "stream_sample": SAMPLE,
}


def place_of(block: int, num_blocks: int) -> str:
    """The stream that enters a block, or leaves the last."""
    return f"blocks/{block}/stream/before" if block < num_blocks else f"blocks/{num_blocks - 1}/stream/after"


def chosen_tokens(batches: Sequence[data.Rows], most: int) -> list[np.ndarray]:
    """For every batch the places (K, 2), row and column, of the sampled tokens: evenly spaced among all there are."""
    there = [np.argwhere(batch.attention_mask) for batch in batches]
    total = sum(map(len, there))
    taken = np.zeros(total, bool)
    taken[np.arange(min(most, total)) * total // max(1, min(most, total))] = True
    ends = np.cumsum([len(places) for places in there])
    return [places[taken[end - len(places) : end]] for places, end in zip(there, ends, strict=True)]


@dataclass
class StreamFacts:
    """Takes the stream of one place after another, every batch of it, and gives rows of the tables.

    Attributes:
      batches: the data.
      num_blocks, width: of the model.
      seed: of the random directions.
      tokens: the first row's, as text.
    """

    batches: Sequence[data.Rows]
    num_blocks: int
    width: int
    seed: int
    tokens: Sequence[str]
    _moments: dict[int, Moments] = field(default_factory=dict)
    _taken: dict[int, list[np.ndarray]] = field(default_factory=dict)
    _kept: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = projections.random_directions(DIRECTIONS, self.width, self.seed)
        self._chosen = chosen_tokens(self.batches, MOST_TOKENS)
        places = self.num_blocks + 1
        count = sum(map(len, self._chosen))
        fitting = HOST_BYTES // (4 * self.width * places)  # of each place's tokens, for the cosines
        self._step = max(1, -(-count // max(1, fitting)))
        self._shown = max(1, min(SAMPLE_TOKENS, SAMPLE_BYTES // (4 * self.width * places), len(self.tokens)))

    def take(self, number: int, block: int, x: Array) -> dict[str, list[dict[str, Any]]]:
        """Batch `number`'s stream (B, T, d) at a place, batches in their order; the place's rows after the last batch.

        Places come in their order; two may take turns, as both ends of the last block do.

        Raises:
          RunError: it has entries that are not finite.
        """
        moments = self._moments.pop(block, None) or covariance.zero(self.width)
        self._moments[block] = covariance.accumulate(moments, x, self.batches[number].attention_mask)
        row, column = self._chosen[number].T
        self._taken.setdefault(block, []).append(np.asarray(x[row, column], np.float32))
        rows: dict[str, list[dict[str, Any]]] = {}
        if number == 0:
            rows["stream_sample"] = self._sample(block, np.asarray(x[0], np.float32))
        if number == len(self.batches) - 1:
            rows |= self._rows(block)
        return rows

    def cosines(self) -> list[dict[str, Any]]:
        """Rows of cosines between all places that were taken, in their order."""
        states = np.stack(self._kept)
        plain, centred = projections.cosines(states), projections.cosines(states, centred=True)
        return [
            {
                "block": i,
                "other": j,
                "cosine": plain[i, j],
                "cosine_centred": centred[i, j],
                "num_tokens": len(states[0]),
            }
            for i in range(len(states))
            for j in range(len(states))
        ]

    def _sample(self, block: int, x: np.ndarray) -> list[dict[str, Any]]:
        about = {"place": place_of(block, self.num_blocks), "block": block}
        return [about | {"position": i, "token": self.tokens[i], "values": x[i]} for i in range(self._shown)]

    def _rows(self, block: int) -> dict[str, list[dict[str, Any]]]:
        place, x = place_of(block, self.num_blocks), np.concatenate(self._taken.pop(block))
        self._kept.append(x[:: self._step])
        moments = self._moments.pop(block)
        about: Mapping[str, Any] = {"place": place, "block": block}
        try:
            axes = covariance.principal_axes(covariance.covariance(moments, centred=True))
        except ValueError as error:
            raise RunError(f"{place}: {error}") from error
        mean = np.asarray(moments.first) / float(moments.tokens)
        square = float(np.trace(np.asarray(moments.second))) / float(moments.tokens)
        known = {"d": self.width, "num_tokens": int(moments.tokens), "num_axes": len(axes.vectors)}
        share = {"mean_share": float(mean @ mean / square) if square else None, "evals": axes.evals}
        least = float(axes.evals[0]) * self.width * np.finfo(np.float64).eps
        rank = rank_row(
            "stream", axes.evals, name=place, role="stream", block=block, least=least, shape=(None, self.width)
        )
        return {
            "stream_covariances": [{**about, **known, **share}],
            "stream_directions": self._directions(about, x, axes.vectors[:DIRECTIONS]),
            "ranks": [rank],
        }

    def _directions(self, about: Mapping[str, Any], x: np.ndarray, principal: np.ndarray) -> list[dict[str, Any]]:
        x = x.astype(np.float64)
        kurtosis = {
            "dimension": projections.excess_kurtosis(x, axis=0),
            "random": projections.kurtosis_along(x, self._random),
            "principal": projections.kurtosis_along(x, principal),
            "pooled": projections.excess_kurtosis(x).reshape(1),
            "standardised": projections.excess_kurtosis(projections.standardised(x)).reshape(1),
        }
        return [{**about, "kind": kind, **_described(kurtosis[kind], len(x))} for kind in KINDS]


def _described(kurtosis: np.ndarray, tokens: int) -> dict[str, Any]:
    known = kurtosis[np.isfinite(kurtosis)]
    low, median, high = np.quantile(known, [0.05, 0.5, 0.95]).tolist() if known.size else (None,) * 3
    error = projections.standard_error(tokens)
    return {
        "num_tokens": tokens, "standard_error": error, "median": median, "low": low, "high": high, "kurtosis": kurtosis,
    }  # fmt: skip
