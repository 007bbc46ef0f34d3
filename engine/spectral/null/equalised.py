"""The null of the equalised reading: edges and T of Gaussian matrices whose scales were fitted and divided out.

`equalise` fits m + n scales to the matrix it divides by them. On pure noise that leaves rows and columns more even
than chance, the bulk a little narrower and the extreme values, which no scale explains, further out: with the plain
edges level 0.01 fires at 0.02 to 0.06 in square matrices. equalised.npz holds what it moves, simulated through
`equalise.resolvent_scales`, `equalise.equalise` and `noise.sigma_bulk` (equalised_fit.py).

Edges   With L(p) = 2 ln(threshold/sigma) of `edges` at level p and w = |L(0.5) - L(0.05)|, the law's own width: the
        shift (L_equalised(p) - L(p))/w, outwards positive, for a few b, b/a and p. It fades like b^(-1/3).
        Two rounds of scales (`equalise.combine`) leave a Gaussian matrix's edges where one does: quantiles of 1,500
        matrices 64 x 64 to 0.03 w, the mean of T to 0.006; the table serves both.
T       K D, K the number of values in the bulk: mean and standard deviation for a few b and b/a, and the
        survival function of (T - mean)/sd, one for all.

Between them it is interpolated linearly in b^(-1/3) (T's moments: in ln b), in sqrt(b/a) and in ln p.
Made by the command that `recipe()` repeats, with versions, seed and counts.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from eigensweep.engine.spectral import edges

T_LEVEL = 0.01  # of the plain outlier test whose outliers T leaves out
_STEPS = 6  # of a fixed point that gains two digits a step
BOUND = 3e-5  # no p-value is smaller: the table ends at ten draws of all


class EqualisedTable(NamedTuple):
    """b (B,), r (R,) = sqrt(b/a), both ascending; level (P,) descending.

    right, left: (B, R, P) shifts of the edges in units of w. mean, sd: (B, R) of T. z (Z,), log_p (Z,): ln P((T -
    mean)/sd >= z).
    """

    b: np.ndarray
    r: np.ndarray
    level: np.ndarray
    right: np.ndarray
    left: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    z: np.ndarray
    log_p: np.ndarray
    recipe: dict[str, Any]


@lru_cache(maxsize=1)
def load() -> EqualisedTable:
    """The table that comes with eigensweep."""
    path = files(__package__) / "equalised.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        arrays = {name: data[name].astype(np.float64) for name in EqualisedTable._fields if name != "recipe"}
        return EqualisedTable(**arrays, recipe=json.loads(str(data["recipe"])))


@lru_cache(maxsize=4096)
def right_threshold(m: int, n: int, level: float) -> float:
    """The value that s_max/sigma of an equalised m x n Gaussian matrix exceeds with probability `level`; m, n > 1."""
    return _shifted(edges.right_threshold, load().right, 1, m, n, level)


@lru_cache(maxsize=4096)
def left_threshold(m: int, n: int, level: float) -> float:
    """The value that s_min/sigma of an equalised m x n Gaussian matrix falls below with probability `level`."""
    return _shifted(edges.left_threshold, load().left, -1, m, n, level)


def num_outliers(
    s: ArrayLike, m: int, n: int, sigma: ArrayLike, level: float = T_LEVEL, eps: ArrayLike = edges.EPS
) -> tuple[Array, Array]:
    """`edges.num_outliers` for the singular values of an equalised matrix and their sigma: its own thresholds."""
    return edges.num_outliers(s, m, n, sigma, level, eps, (right_threshold, left_threshold))


def p_largest(x: NDArray, a: int, b: int) -> NDArray[np.float64]:
    """P(s_max/sigma >= x) of an equalised a x b Gaussian matrix, `right_threshold` inverted; at most 0.5."""
    return _inverted(x, edges.p_largest, edges.right_threshold, load().right, 1, a, b)


def p_smallest(x: NDArray, a: int, b: int) -> NDArray[np.float64]:
    """P(s_min/sigma <= x) of an equalised a x b Gaussian matrix, `left_threshold` inverted; at most 0.5."""
    return _inverted(x, edges.p_smallest, edges.left_threshold, load().left, -1, a, b)


def _inverted(
    x: NDArray, tail: edges.Tail, threshold: edges.Threshold, shifts: np.ndarray, outwards: int, a: int, b: int
) -> NDArray[np.float64]:
    """The plain tail of x over the shift at p, which hardly depends on p: a fixed point of few steps."""
    p = np.full(np.shape(x), 0.1)
    for _ in range(_STEPS):
        p = np.clip(tail(x / _factor(threshold, shifts, outwards, a, b, p), a, b), edges.LEAST_P, 0.5)
    return p


def gof_p(t: ArrayLike, a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """P(T >= t) for the bulk of an equalised Gaussian matrix; never below BOUND ("< 3e-5"), NaN for NaN.

    Args:
      t: T = K D, K = m or n (the smaller) less k right and l left outliers of `edges.num_outliers` at T_LEVEL, D of
        `marchenko_pastur.ks_distance` with the same k and l. Any shape.
      a, b: sides of the matrix that is left, max(m, n) - k and K; scalars or like t. Below b = 8 the law of 8 serves.
    """
    table = load()
    t, a, b = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (t, a, b)))
    log_b = np.log(np.clip(b, table.b[0], None))
    r = np.sqrt(np.clip(b, 1, None) / np.clip(a, 1, None))
    # beyond the table's largest b T grows with ln b as it does before
    mean, sd = (_bilinear(x, np.log(table.b), table.r, log_b, r, upwards=True) for x in (table.mean, table.sd))
    log_p = np.interp((t - mean) / sd, table.z, table.log_p)
    return np.where(np.isnan(t), np.nan, np.maximum(np.exp(log_p), BOUND))


def recipe() -> dict[str, Any]:
    """How the table was made: command, matrices a shape, seed, versions."""
    return load().recipe


def _shifted(threshold: edges.Threshold, shifts: np.ndarray, outwards: int, m: int, n: int, level: float) -> float:
    a, b = max(m, n), min(m, n)
    return float(threshold(a, b, level) * _factor(threshold, shifts, outwards, a, b, level))


def _factor(
    threshold: edges.Threshold, shifts: np.ndarray, outwards: int, a: int, b: int, p: ArrayLike
) -> NDArray[np.float64]:
    """What the plain threshold at level p is multiplied by."""
    table = load()
    fading = -(table.b ** (-1 / 3))
    layers = np.moveaxis(shifts, 2, 0)
    by_level = np.array([_bilinear(x, fading, table.r, -(b ** (-1 / 3)), (b / a) ** 0.5) for x in layers])
    if b > table.b[-1]:
        by_level *= (table.b[-1] / b) ** (1 / 3)
    shift = np.interp(-np.log(p), -np.log(table.level), by_level)
    return np.exp(outwards * shift * width(threshold, a, b) / 2)


@lru_cache(maxsize=1024)
def width(threshold: Any, a: int, b: int) -> float:
    """w = |L(0.5) - L(0.05)|, L(p) = 2 ln threshold(a, b, p)."""
    return float(abs(2 * np.log(threshold(a, b, 0.5) / threshold(a, b, 0.05))))


def _bilinear(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: Any, y: Any, upwards: bool = False) -> Any:
    """values (rows, columns) at (x, y); constant outside, but linear above the last row if `upwards`."""
    i, f = _place(rows, x, upwards)
    j, g = _place(columns, y)
    low = (1 - g) * values[i, j] + g * values[i, j + 1]
    high = (1 - g) * values[i + 1, j] + g * values[i + 1, j + 1]
    return (1 - f) * low + f * high


def _place(grid: np.ndarray, x: Any, upwards: bool = False) -> tuple[Any, Any]:
    i = np.clip(np.searchsorted(grid, x) - 1, 0, grid.size - 2)
    return i, np.clip((x - grid[i]) / (grid[i + 1] - grid[i]), 0, None if upwards else 1)
