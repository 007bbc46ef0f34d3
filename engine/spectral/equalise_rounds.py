"""The two rounds of `equalise.py`: scales of rows and columns of many matrices from their decompositions."""

from collections.abc import Sequence

import jax
import numpy as np
from numpy.typing import NDArray

from eigensweep.engine.spectral import equalise
from eigensweep.engine.spectral.svd import decompose, on_cores


def two_rounds(ws: Sequence[NDArray], u: NDArray, s: NDArray, vt: NDArray) -> tuple[NDArray, NDArray]:
    """Dyson scales from decompositions at hand, then of what they gave; `equalise.equalise` takes the result.

    Args:
      ws: B matrices (m, n), finite and of more than one row and column.
      u, s, vt: (B, m, b), (B, b) and (B, b, n), s descending.

    Returns:
      x (B, m), y (B, n), see `equalise.dyson_scales`.
    """
    first = equalise.dyson_scales(u, s, vt)
    # a Gram matrix will do unless its rounding hides the resolvent's own scale, or which values are zero
    shares = s / s[:, :1]
    hidden = ((shares > 1e-12) & (shares < 1e-6)).any(axis=1)
    plain = (jax.default_backend() == "cpu") & (np.median(shares, axis=1) > 1e-4) & ~hidden

    def again(i: int) -> tuple[NDArray, NDArray]:
        scaled = equalise.equalise(ws[i] / s[i, 0], first[0][i], first[1][i])
        if plain[i]:
            return equalise.resolvent_scales(scaled)
        once = decompose(scaled[None])
        return tuple(np.asarray(scale)[0] for scale in equalise.dyson_scales(once.u, once.s, once.vt))  # type: ignore

    each = on_cores(again, len(ws), min(ws[0].shape)) if plain.all() else list(map(again, range(len(ws))))
    return equalise.combine(first, (np.stack([x for x, _ in each]), np.stack([y for _, y in each])))
