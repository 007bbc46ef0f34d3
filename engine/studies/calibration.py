"""How often the outlier tests fire on pure noise, of Gaussian entries and of any other."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import betaincinv

from eigensweep.engine.spectral import edges, ensembles, equalise, noise, signs
from eigensweep.engine.spectral.ensembles import gaussian_singular_values
from eigensweep.engine.spectral.null import equalised
from eigensweep.engine.spectral.svd import decompose

LEVELS = (0.05, 0.01)
_ELEMENTS_AT_ONCE = 2**23

Reading = Callable[[np.ndarray, float, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""(w (B, m, n), level, rng of what the reading draws) -> num_right (B,), num_left (B,)."""


def firing_rates(m: int, n: int, num: int, seed: int) -> list[str]:
    """ "right/left" rates for each level, sigma known then fitted, of `num` Gaussian matrices (m, n)."""
    a, b = max(m, n), min(m, n)
    s = jnp.asarray(gaussian_singular_values([seed, a, b], a, b, num))
    fitted = jax.jit(jax.vmap(lambda x: noise.sigma_bulk(x, a, b)))(s)
    cells = []
    for level in LEVELS:
        count = jax.jit(jax.vmap(lambda x, sigma, level=level: edges.num_outliers(x, a, b, sigma, level)))
        for sigma in (jnp.ones(num), fitted):
            right, left = count(s, sigma)
            cells.append(f"{float(jnp.mean(right > 0)):.4f}/{float(jnp.mean(left > 0)):.4f}")
    return cells


class Fired(NamedTuple):
    """How many of `num` matrices of noise have an outlier on the right, and on the left."""

    num: int
    right: int
    left: int


def fired(
    kind: str, m: int, n: int, num: int, seed: int, level: float, readings: list[str], spike: float = 0.0
) -> dict[str, Fired]:
    """Each reading of the same `num` matrices (m, n) of `ensembles.noise(kind)`; matrix i is the same in any batch.

    With a spike, one random direction of that many times the edge sd (sqrt(m) + sqrt(n)) is planted in each.
    """
    totals = {name: np.zeros(2, int) for name in readings}
    for first, w in _batches(kind, m, n, num, seed, spike):
        for name in readings:
            counts = READINGS[name](w, level, np.random.default_rng([seed, m, n, first, 1]))
            totals[name] += [int(np.sum(count > 0)) for count in counts]
    return {name: Fired(num, *total.tolist()) for name, total in totals.items()}


def interval(count: int, num: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a rate of which `count` of `num` were seen."""
    tail = (1 - confidence) / 2
    low = betaincinv(count, num - count + 1, tail) if count else 0.0
    high = betaincinv(count + 1, num - count, 1 - tail) if count < num else 1.0
    return float(low), float(high)


def raw(w: np.ndarray, level: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Outliers of the matrices as they are."""
    return _count(w, level, is_equalised=False)


def equal(w: np.ndarray, level: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Outliers of the equalised matrices, each without its rows and columns of zeros."""
    rows, columns = (w != 0).any(axis=2), (w != 0).any(axis=1)
    whole = rows.all(axis=1) & columns.all(axis=1)
    right, left = np.zeros((2, len(w)), int)
    if whole.any():
        right[whole], left[whole] = _count(_equalised(w[whole]), level, is_equalised=True)
    for i in np.flatnonzero(~whole):
        found = _count(_equalised(w[i : i + 1, rows[i]][:, :, columns[i]]), level, is_equalised=True)
        right[i], left[i] = found[0][0], found[1][0]
    return right, left


def beyond_signs(w: np.ndarray, level: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values beyond those of the same entries with random signs, as a sweep counts them: after `equal`."""
    found, start = decompose(w), np.stack(equal(w, level, rng), axis=1)
    keys = list(jax.random.split(jax.random.key(int(rng.integers(2**31))), len(w)))
    read = signs.read(w, found.u, found.s, found.vt, keys, level=level, start=start.tolist(), num_rounds=1)
    return read.num_right, read.num_left


READINGS: dict[str, Reading] = {"raw": raw, "equalised": equal, "signs": beyond_signs}


def _equalised(w: np.ndarray) -> np.ndarray:
    first = equalise.resolvent_scales(w)
    second = equalise.resolvent_scales(equalise.equalise(w, *first))
    return equalise.equalise(w, *equalise.combine(first, second))


def _count(w: np.ndarray, level: float, is_equalised: bool) -> tuple[np.ndarray, np.ndarray]:
    s = decompose(w, vectors=False).s
    return jax.device_get(_outliers(s, *w.shape[1:], level=level, is_equalised=is_equalised))


@partial(jax.jit, static_argnums=(1, 2), static_argnames=("level", "is_equalised"))
def _outliers(s: jax.Array, m: int, n: int, *, level: float, is_equalised: bool) -> tuple[jax.Array, jax.Array]:
    num_outliers = equalised.num_outliers if is_equalised else edges.num_outliers
    return jax.vmap(lambda x: num_outliers(x, m, n, noise.sigma_bulk(x, m, n), level))(s)


def _batches(kind: str, m: int, n: int, num: int, seed: int, spike: float = 0.0) -> Iterator[tuple[int, np.ndarray]]:
    def draw(i: int) -> np.ndarray:
        rng = np.random.default_rng([seed, m, n, i])
        w = ensembles.noise(kind, rng, m, n)
        return ensembles.planted(w, spike * np.std(w) * (m**0.5 + n**0.5), rng) if spike else w

    size = max(1, min(num, _ELEMENTS_AT_ONCE // (m * n)))
    for first in range(0, num, size):
        yield first, np.stack([draw(i) for i in range(first, min(first + size, num))])
