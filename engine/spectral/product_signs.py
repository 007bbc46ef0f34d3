"""What random signs explain of a circuit: its extreme singular values beside those of factors with random signs.

The factors of noise that is independent and symmetric keep their law when the signs of their entries are drawn anew,
so the extremes of W = L R and those of flipped products are exchangeable, whatever the entries' scales and tails
(`signs.py` has the same for one matrix). Their law far out is that of a soft edge, on both ends as long as the factors
are thin: of 400 Gaussian products, 64 x 8 to 384 x 32, 7 flips fire at level 0.05 in 0.035 to 0.063, at 0.01 in 0.003
to 0.010, right and left. Of factors that are square, or nearly so, the smallest value has no such law: the left
reading abstains (64 x 64 would fire at 0.088 and 0.025).

No component is taken out before the flips, so strong ones raise the flips and hide weak ones: counts are lower bounds.
"""

from typing import NamedTuple

import numpy as np

from eigensweep.engine.spectral import edges, flips_null


class ProductSigns(NamedTuple):
    """Of one matrix; NaN where there is no reading.

    Attributes:
      num_right, num_left: singular values beyond the level's quantile of the flips' largest and smallest one.
      p_right, p_left: of s_1 and s_k against the flips; at least 5e-6.
      largest, smallest: geometric means of the flips' s_1 and s_k.
    """

    num_right: float
    num_left: float
    p_right: float
    p_left: float
    largest: float
    smallest: float


def read(s: np.ndarray, flips: np.ndarray, shape: tuple[int, int], level: float) -> ProductSigns:
    """The reading of one matrix or product of thin factors.

    Args:
      s: (k,) singular values, descending.
      flips: (F, k) those of the flips; fewer than `flips_null.LEAST_FLIPS` are no reading.
      shape: long and short side of the factors, or of the matrix.
      level: of the first false value on a side.
    """
    a, b = max(shape), min(shape)
    if len(flips) < flips_null.LEAST_FLIPS or len(s) < b or not s[-1] > 0 or not (flips[:, -1] > 0).all():
        return ProductSigns(*[np.nan] * 6)
    log_s, log_flips = np.log(s), np.log(flips)
    top, low = log_flips[:, 0], -log_flips[:, -1]
    edge = flips_null.threshold(top, flips_null.SOFT, level)
    z = flips_null.z_value(log_s[0], top, flips_null.SOFT)
    p = flips_null.p_value(z, flips_null.SOFT, len(flips))
    num_right, num_left, p_left = float(np.count_nonzero(log_s > edge)), np.nan, np.nan
    if not edges.is_hard(a, b):
        edge = flips_null.threshold(low, flips_null.SOFT, level)
        z = flips_null.z_value(-log_s[-1], low, flips_null.SOFT)
        num_left = float(np.count_nonzero(-log_s > edge))
        p_left = flips_null.p_value(z, flips_null.SOFT, len(flips))
    ends = float(np.exp(top.mean())), float(np.exp(-low.mean()))
    return ProductSigns(num_right, num_left, p, p_left, *ends)
