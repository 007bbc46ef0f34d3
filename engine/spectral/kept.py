"""Which singular vectors are worth a closer look, and the distribution of a vector's entries as a histogram."""

import numpy as np

ENDS = 2  # vectors kept at either end of the spectrum
MOST_UNLIKE = 2  # and of those with the largest D


def chosen(d_stat: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The first two, the last two and the two with the largest D of the known vectors.

    Args:
      d_stat: (b,) KS statistics.
      known: (b,) which vectors count.

    Returns:
      Indices, ascending, each once; at most six.
    """
    index = np.flatnonzero(known & np.isfinite(d_stat))
    largest = index[np.argsort(-d_stat[index], kind="stable")[:MOST_UNLIKE]]
    return np.unique(np.concatenate([index[:ENDS], index[-ENDS:], largest]))


def histogram(x: np.ndarray, bins: int, end: float) -> np.ndarray:
    """How the entries of unit vectors lie, in standard deviations of a random unit vector's entries.

    Args:
      x: (k, n) unit vectors; each is turned so that its largest entry is positive.
      bins: number of bins between -end and end, each with its lower end.
      end: see above.

    Returns:
      (k, bins + 2) counts of sqrt(n) x: below -end, the bins, from end on. Sums up to each are n times the vectors'
      distribution functions there.
    """
    k, n = x.shape
    x = x * np.where(np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1) < 0, -1.0, 1.0)  # a vector's sign is free
    place = np.floor((np.sqrt(n) * x.astype(np.float64) + end) * (bins / (2 * end))).clip(-1, bins).astype(np.int64) + 1
    place += np.arange(k)[:, None] * (bins + 2)
    return np.bincount(place.ravel(), minlength=k * (bins + 2)).reshape(k, bins + 2)
