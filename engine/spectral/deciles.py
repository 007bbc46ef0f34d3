"""Tenths of the singular values by rank: the one definition of a decile, for every study.

Decile k of b values in descending order holds the ranks from round(b (k - 1)/10) to round(b k/10) - 1, counted from 0;
halves are rounded to the even number. Neighbouring sizes differ by at most one: 384 values make 38, 39, 38, 39, ...
"""

import numpy as np

NUM_DECILES = 10


def decile(number: int, b: int) -> np.ndarray:
    """Indices of one tenth of b values, ascending: number 1 holds the largest values, number 10 the smallest.

    Raises:
      ValueError: the number is not one of 1 to 10.

    >>> decile(10, 25)
    array([22, 23, 24])
    """
    if not 1 <= number <= NUM_DECILES:
        raise ValueError(f"decile {number}: expected 1 to {NUM_DECILES}")
    return np.arange(round(b * (number - 1) / NUM_DECILES), round(b * number / NUM_DECILES))


def deciles(b: int) -> list[np.ndarray]:
    """Indices of all ten tenths of b values, the largest values first; some are empty for b < 10."""
    return [decile(number, b) for number in range(1, NUM_DECILES + 1)]
