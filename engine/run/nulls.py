"""p-values of KS statistics: from the shipped table, or from a fresh Monte Carlo of the run's own seed."""

import math
import zlib
from functools import lru_cache

import jax
import numpy as np

from eigensweep.engine.spectral.null import sampling, table


def purpose_key(seed: int, *purpose: str | int) -> jax.Array:
    """A PRNG key for one purpose ("control", a matrix's name, …): the same whatever the order of work."""
    key = jax.random.key(seed)
    for word in purpose:
        key = jax.random.fold_in(key, word if isinstance(word, int) else zlib.crc32(word.encode()))
    return key


def draws_needed(num_tests: int, level: float) -> int:
    """Draws from which Benjamini-Hochberg can reject one of `num_tests` p-values: 1/(1 + draws) < level/num_tests."""
    return math.ceil(num_tests / level)


@lru_cache(maxsize=64)
def _monte_carlo(seed: int, n: int, num_draws: int) -> np.ndarray:
    return np.asarray(sampling.sample_null(purpose_key(seed, "null", n), n, num_draws))


def p_values(d_stat: np.ndarray, n: int, *, null: str = "table", seed: int = 0, num_draws: int = 100_000) -> np.ndarray:
    """P(D >= d_stat) for unit vectors of length n under the null of normalised Gaussian vectors.

    Args:
      d_stat: KS statistics, any shape.
      n: length of the vectors.
      null: "table" uses the shipped table from its smallest n on, "monte_carlo" simulates `num_draws` vectors.
      seed: of the simulation.
      num_draws: of the simulation; below the table's smallest n it serves in any case.

    Returns:
      p-values shaped as `d_stat`: (1 + #{D_null >= D})/(1 + num_draws), or the table's, which never
      falls below the smallest p that it holds.
    """
    if null == "table" and n >= table.smallest_n():
        return np.asarray(table.p_value_table(d_stat, n))
    return np.asarray(sampling.p_value(np.asarray(d_stat), _monte_carlo(seed, n, num_draws)))
