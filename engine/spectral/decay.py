"""Does a circuit's spectrum fall exponentially, and where does it end?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Decay(NamedTuple):
    """A straight line through ln s over the index: s_i about scale exp(-i/length), i = 1 ... cut.

    Attributes:
      length: c, indices over which s falls by a factor e; infinite for equal values.
      scale: of the line, at i = 0.
      r_squared: the share of the variance of ln s that the line explains. Any falling sequence is near some line:
        hold it against that of Gaussian circuits of the same shape.
      deviation: root mean square of ln s about the line, in nats: 0.1 means that values lie 10 % off it.
    """

    length: float
    scale: float
    r_squared: float
    deviation: float


def fit_decay(s: ArrayLike, cut: int | None = None) -> Decay:
    """Least squares of ln s_i on i, for i up to `cut`.

    Args:
      s: (r,) singular values, descending.
      cut: how many of them are part of the circuit, its head_dim: what follows is rounding. By default all.

    Returns:
      NaN throughout below three positive values.
    """
    s = np.asarray(s, np.float64)[:cut]
    s = s[s > 0]
    if s.size < 3:
        return Decay(*[float("nan")] * 4)
    i, y = np.arange(1, s.size + 1), np.log(s)
    slope = float(((i - i.mean()) * (y - y.mean())).sum() / ((i - i.mean()) ** 2).sum())
    at_zero = float(y.mean() - slope * i.mean())
    rest = float(((y - at_zero - slope * i) ** 2).mean())
    total = float(((y - y.mean()) ** 2).mean())
    return Decay(
        length=-1 / slope if slope < 0 else float("inf"),
        scale=float(np.exp(at_zero)),
        r_squared=1 - rest / total if total > 0 else float("nan"),
        deviation=rest**0.5,
    )
