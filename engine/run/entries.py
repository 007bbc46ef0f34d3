"""What the entries of a batch of matrices tell before any decomposition: are they usable, and how large are they?"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.spectral import controls
from eigensweep.engine.spectral.cores import num_cores

_CHUNK = 1 << 22  # entries looked at at a time


class Entries(NamedTuple):
    """(B,) arrays: how many entries are not finite, whether any is not zero, their standard deviation and excess
    kurtosis (`controls.excess_kurtosis`)."""

    num_bad: np.ndarray
    any_nonzero: np.ndarray
    sigma: np.ndarray
    kurtosis: np.ndarray


def describe(batch: Any) -> Entries:
    """Look at w (B, m, n), m n > 0, where it lies: NumPy arrays a matrix a thread, JAX arrays on their device."""
    if isinstance(batch, np.ndarray):
        with ThreadPoolExecutor(num_cores()) as pool:
            return Entries(*(np.array(column) for column in zip(*pool.map(_one, batch), strict=True)))
    return Entries(*(np.asarray(x) for x in _on_device(batch)))


def _one(w: np.ndarray) -> tuple[int, bool, float, float]:
    step = max(1, _CHUNK // w.shape[1])
    chunks = [w[i : i + step] for i in range(0, len(w), step)]
    bad = w.size - sum(int(np.count_nonzero(np.isfinite(chunk))) for chunk in chunks)
    nonzero = any((chunk != 0).any() for chunk in chunks)
    sigma = np.nan if bad else controls.standard_deviation(w)
    return bad, nonzero, sigma, controls.excess_kurtosis(w, sigma)


@jax.jit
def _on_device(w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    finite = jnp.isfinite(w)
    bad = jnp.sum(~finite, axis=(1, 2))
    largest = jnp.max(jnp.abs(w), axis=(1, 2), keepdims=True).astype(jnp.float64)  # squares would overflow
    unit = jnp.where(largest > 0, largest, 1.0)
    x = w / unit
    sigma = jnp.std(x, axis=(1, 2), keepdims=True)
    z = (x - jnp.mean(x, axis=(1, 2), keepdims=True)) / sigma  # 0/0 is NaN
    kept = ~(jnp.abs(z) >= (w.shape[1] * w.shape[2]) ** 0.25)
    z -= jnp.mean(z, axis=(1, 2), where=kept, keepdims=True)
    second, fourth = (jnp.mean(z**power, axis=(1, 2), where=kept) for power in (2, 4))
    sigma = jnp.where(bad > 0, jnp.nan, (unit * sigma)[:, 0, 0])
    return bad, jnp.any(w != 0, axis=(1, 2)), sigma, fourth / second**2 - 3


def sigma_if_finite(w: np.ndarray) -> float:
    """Standard deviation of the entries; NaN where there are none, or some are not finite."""
    return controls.standard_deviation(w) if w.size and np.isfinite(w).all() else float("nan")


def statuses(entries: Entries) -> list[str]:
    """ "ok", or why no statistics can be had, a matrix each."""
    return [
        f"non-finite entries: {bad}" if bad else "ok" if nonzero else "all zero"
        for bad, nonzero in zip(entries.num_bad, entries.any_nonzero, strict=True)
    ]


def status_of_shape(shape: tuple[int, int]) -> str:
    """ "ok", or why matrices of this shape have no statistics."""
    if 0 in shape:
        return "empty"
    return f"vector ({shape[0]} x {shape[1]})" if min(shape) == 1 else "ok"
