"""How sure is a share?"""

import numpy as np
import scipy.special
from numpy.typing import ArrayLike, NDArray


def wilson_interval(
    found: ArrayLike, count: ArrayLike, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of a share found/count of independent trials.

        (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2))/(1 + z^2/n),    p = found/count, n = count

    Args:
      found, count: any shapes that broadcast, 0 <= found <= count.
      confidence: in (0, 1).

    Returns:
      (low, high) in [0, 1]; NaN where count is 0.

    Reference: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    found, count = np.asarray(found, np.float64), np.asarray(count, np.float64)
    if np.any((found < 0) | (found > count)):
        raise ValueError("a share of more than there are: expected 0 <= found <= count")
    z = -scipy.special.ndtri((1 - confidence) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        p, shrink = found / count, 1 + z**2 / count
        centre = (p + z**2 / (2 * count)) / shrink
        half = z / shrink * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    # at the ends rounding must not cut off the share itself
    return np.where(found == 0, 0.0 * p, centre - half), np.where(found == count, 1.0 + 0 * p, centre + half)
