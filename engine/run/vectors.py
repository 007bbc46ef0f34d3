"""Decompose a batch and take the KS statistics of its singular vectors, which are not needed after that."""

from typing import Any, NamedTuple

import jax
import numpy as np

from eigensweep.engine.run.memory import is_streamed
from eigensweep.engine.spectral import ks
from eigensweep.engine.spectral.svd import decompose
from eigensweep.engine.spectral.svd.streamed import streamed_svd


class Spectra(NamedTuple):
    """What remains of the decomposition of B matrices (m, n), b = min(m, n); NumPy arrays.

    Attributes:
      s: (B, b) singular values.
      ks_right, ks_left: (B, b) KS statistics of the right and left singular vectors.
      residual, orthogonality: (B,), see `decompose`.
      strategy: B names.
    """

    s: np.ndarray
    ks_right: np.ndarray
    ks_left: np.ndarray
    residual: np.ndarray
    orthogonality: np.ndarray
    strategy: tuple[str, ...]


def spectra(batch: Any, strategy: str) -> Spectra:
    """Singular values and KS statistics of finite matrices, (B, m, n), where the batch lies.

    Matrices too large for their vectors to be held go one by one through `streamed_svd`, unless a strategy is named.
    """
    if strategy == "streamed" or (strategy == "auto" and is_streamed(batch.shape[1:])):
        parts = [_streamed(w) for w in np.asarray(batch)]
        s, right, left, residual, orthogonality = (np.stack(part) for part in zip(*parts, strict=True))
        return Spectra(s, right, left, residual, orthogonality, ("streamed",) * len(parts))
    found = decompose(batch, strategy)
    right, left = found.vt, found.u.swapaxes(1, 2)
    if jax.default_backend() == "cpu":  # XLA's sort is slow there; elsewhere the vectors stay on their device
        right, left = np.asarray(right), np.asarray(left)
    right, left = np.asarray(ks.ks_statistic(right)), np.asarray(ks.ks_statistic(left))
    return Spectra(
        np.asarray(found.s),
        right,
        left,
        np.asarray(found.residual),
        np.asarray(found.orthogonality),
        found.strategy,
    )


def _streamed(w: np.ndarray) -> tuple[Any, ...]:
    long = np.empty(min(w.shape))

    def take(group: slice, vectors: np.ndarray) -> None:
        long[group] = ks.ks_statistic(vectors)

    try:
        found = streamed_svd(w, take)
    except np.linalg.LinAlgError:  # did not converge: a row of NaN, and the sweep goes on
        nothing = np.full(min(w.shape), np.nan)
        return nothing, nothing, nothing, np.nan, np.nan
    short = ks.ks_statistic(found.short)
    right, left = (short, long) if w.shape[0] >= w.shape[1] else (long, short)
    return found.s, right, left, found.residual, found.orthogonality
