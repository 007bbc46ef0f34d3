"""The axes of the activations: what is taken off them first, and which part of the eigenvalues their means carry."""

import numpy as np

from eigensweep.engine.spectral import covariance
from eigensweep.engine.spectral.covariance import Axes, Moments, Positions

CENTRINGS = ("none", "mean", "positions")


def axes_of(moments: Moments, positions: Positions | None, centring: str) -> tuple[Axes, dict[str, np.ndarray | None]]:
    """The axes of F, and the columns mean_share and position_share.

    Args:
      moments, positions: of the activations; no positions where a row is one vector: nothing but their mean can be
        taken off then.
      centring: one of CENTRINGS.

    Raises:
      ValueError: F has entries that are not finite.
    """
    centred = centring != "none"
    axes = covariance.principal_axes(
        covariance.covariance(moments, centred, positions if centring == "positions" else None)
    )
    of_mean, of_positions = covariance.shares_of_means(axes, moments, positions)
    gone = np.zeros(len(axes.vectors))
    return axes, {
        "mean_share": gone if centred else of_mean,
        "position_share": gone if of_positions is not None and centring == "positions" else of_positions,
    }
