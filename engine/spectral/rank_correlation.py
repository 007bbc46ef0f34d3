"""Spearman's rank correlation of many vectors with one."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ranks(x: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 0 along the last axis of x (..., n); equal numbers share the mean of theirs."""
    x = np.asarray(x)
    order = np.argsort(x, axis=-1)
    ordered = np.take_along_axis(x, order, -1)
    new = np.ones(x.shape, bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    place = np.arange(x.shape[-1])
    first = np.maximum.accumulate(np.where(new, place, 0), axis=-1)
    # where a run of equal numbers ends: the start of the next one, seen from behind
    last_of_run = np.ones(x.shape, bool)
    last_of_run[..., :-1] = new[..., 1:]
    ends = np.where(last_of_run, place, x.shape[-1])
    last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    result = np.empty(x.shape)
    np.put_along_axis(result, order, (first + last) / 2, -1)
    return result


def spearman(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Spearman's correlation of every row of x (N, n) with y (n,): that of their ranks.

    Returns:
      (N,) in [-1, 1]; NaN where all numbers of a row, or of y, are equal.
    """
    a, b = _standard(ranks(x)), _standard(ranks(y))
    return a @ b


def _standard(r: NDArray[np.float64]) -> NDArray[np.float64]:
    r = r - r.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(r, axis=-1, keepdims=True)
    return np.divide(r, norm, out=np.full_like(r, np.nan), where=norm > 0)
