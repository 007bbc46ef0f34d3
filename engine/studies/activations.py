"""Which tokens enter a linear layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from eigensweep.models import nn


def tokens_of(tap: str, taps: Mapping[str, Any], mask: Any) -> np.ndarray:
    """True for the vectors of a tap that count: (B, T); an expert's are those of the tokens that go to it.

    Args:
      taps: (B, T, d) by tap, (B, d) where a head reads one vector a row: then the result is (B,).
      mask: (B, T), true for tokens.
    """
    tokens: np.ndarray = np.asarray(mask, bool)
    if taps[tap].ndim == 2:
        tokens = np.any(tokens, axis=1)
    if routes := nn.routes_of(tap):
        tokens = tokens & np.asarray(taps[routes[0]][..., routes[1]] > 0)
    return tokens
