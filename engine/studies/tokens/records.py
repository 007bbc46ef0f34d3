"""What a block's circuits become on their way to rows: decomposed, then directions with their tokens."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eigensweep.engine.spectral.spans import Spans
from eigensweep.models.circuits import Circuits, Projection


@dataclass(frozen=True)
class Decomposed:
    """H circuits of one kind and block, k = min(m, r, n).

    Attributes:
      circuits: what was decomposed.
      s: (H, k) singular values, descending.
      sides: (H, k, d) directions in the stream as rows, by their name, the left side's first.
      rank: (H,) numerical rank.
      spans: gaps and groups.
      sigma, sigma_right: (H,) noise of the entries, of the matrix or the left factor, and of the right factor.
    """

    circuits: Circuits
    s: np.ndarray
    sides: Mapping[str, np.ndarray]
    rank: np.ndarray
    spans: Spans
    sigma: np.ndarray
    sigma_right: np.ndarray | None


@dataclass(frozen=True)
class Found:
    """D directions of one batch of circuits on one side of them; a row each.

    Attributes:
      circuit: (D,) which of the batch's circuits.
      index: (D,) from 1.
      side: what they are to the stream.
      projection: whose rows they were multiplied with.
      vectors: (D, d) unit directions, of sign 1.
      plus, plus_scores: (D, k) tokens with the largest scores, largest first.
      minus, minus_scores: (D, k) the same of the direction turned round.
    """

    circuit: np.ndarray
    index: np.ndarray
    side: str
    projection: Projection
    vectors: np.ndarray
    plus: np.ndarray
    plus_scores: np.ndarray
    minus: np.ndarray
    minus_scores: np.ndarray
