"""What a matrix of pure noise looks like, as five functions: one record for Gaussian noise, one for any other null.

`statistics` reads a matrix against such a record, so the same code serves a matrix as it is and an equalised one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from eigensweep.engine.spectral import edges
from eigensweep.engine.spectral.null import goodness


class Law(NamedTuple):
    """The null of one reading.

    Attributes:
      right_threshold: (m, n, level) -> what s_max/sigma exceeds with probability `level`.
      left_threshold: (m, n, level) -> what s_min/sigma falls below with probability `level`.
      p_largest, p_smallest: (x, a, b) -> P(s_max/sigma >= x) and P(s_min/sigma <= x), the inverse of the thresholds.
      gof_p: (t, a, b, K) -> P(T >= t), T as `goodness.statistic` gives it; arrays of one shape.
    """

    right_threshold: edges.Threshold
    left_threshold: edges.Threshold
    p_largest: edges.Tail
    p_smallest: edges.Tail
    gof_p: Callable[[np.ndarray, int, int, np.ndarray], np.ndarray]


GAUSSIAN = Law(edges.right_threshold, edges.left_threshold, edges.p_largest, edges.p_smallest, goodness.p_value)
"""Independent Gaussian entries: the matrix as it is."""
