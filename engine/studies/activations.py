"""Second moments of what enters linear layers, tap by tap, while batches pass through a model."""

from collections.abc import Container, Mapping

import numpy as np
from jax import Array

from eigensweep.engine.spectral import covariance
from eigensweep.engine.spectral.covariance import Moments
from eigensweep.models import nn


def add_moments(
    moments: dict[str, Moments], taps: Mapping[str, Array], wanted: Container[str], mask: np.ndarray
) -> None:
    """Add a batch's activations to the moments of their taps; an expert's are of the tokens that go to it.

    Args:
      moments: by tap; changed in place.
      taps: (B, T, d), or (B, d) where a head reads one vector a row, by tap.
      wanted: of which taps.
      mask: (B, T), true for tokens.
    """
    for tap in [tap for tap in taps if tap in wanted]:
        x = taps[tap]
        tokens = mask if x.ndim == 3 else mask.any(axis=1)
        if routes := nn.routes_of(tap):
            tokens = tokens & np.asarray(taps[routes[0]][..., routes[1]] > 0)
        moments[tap] = covariance.accumulate(moments.pop(tap, None) or covariance.zero(x.shape[-1]), x, tokens)
