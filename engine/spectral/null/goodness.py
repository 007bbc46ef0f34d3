"""Does the Marchenko-Pastur law describe the bulk? A test of what is left after the outliers, from a simulated table.

With k right and l left outliers at level 0.01 taken out, K = b - k - l values are left, and

    T = K D,  D = sup |F_emp - F|, F the law of an (a - k) x (b - k - l) matrix with the fitted sigma

(`marchenko_pastur.ks_distance`). Eigenvalues repel one another, so T grows like ln K, where independent values would
give sqrt(K), and hardly depends on b/a.

goodness.npz was made on one CPU core in less than half an hour by

    eigensweep-null --goodness=goodness.npz

which the file repeats with seeds, counts and versions (`recipe`): at b/a of 0.02 to 1 and b of 8 to 512, 20,000
matrices a cell to b = 64, 7,629 at 256, 1,907 at 512. Larger K follow the fit's c0 + c1 ln K (c1 = 0.41 to 0.44 at
p = 0.05). p-values end at BOUND: a p of BOUND reads "< 1e-5".
"""

from __future__ import annotations

import json
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from eigensweep.engine.spectral import edges, ensembles, marchenko_pastur, noise
from eigensweep.engine.spectral.arrays import compiled, namespace

BOUND = 1e-5
LEVEL = 0.01  # of the outlier tests before the fit is judged
_CHUNK = 500  # matrices at a time
_EPS = float(np.finfo(np.float64).eps)


@compiled("m", "n")
def statistic(s: ArrayLike, m: int, n: int, sigma: ArrayLike, eps: ArrayLike = _EPS) -> tuple[Array, Array]:
    """T and K of one matrix; its outliers are those of the plain edges, whatever the null that p is read from.

    Args:
      s: (b,) singular values, descending.
      m, n, eps: see `edges.num_outliers`.
      sigma: of `noise.sigma_bulk`; the table holds for no other.

    Returns:
      (T, K), float64 and int32 scalars; NaN and -1 where there is no edge test, T is NaN without a positive sigma.
    """
    xp = namespace(s, sigma, eps)
    right, left = edges.num_outliers(s, m, n, sigma, LEVEL, eps)
    count = xp.where(right < 0, -1, min(m, n) - right - left)
    distance = marchenko_pastur.ks_distance(xp.asarray(s, xp.float64), m, n, sigma, right, left)
    return xp.where(count < 0, xp.nan, count * distance), count


def simulate(seed: int, a: int, b: int, num: int) -> np.ndarray:
    """(num,) T of a x b Gaussian matrices; a >= b >= 8. The first of more are the same."""
    one = jax.jit(jax.vmap(lambda s: statistic(s, a, b, noise.sigma_bulk(s, a, b))[0]))
    draw = partial(ensembles.gaussian_singular_values, a=a, b=b, num=_CHUNK)
    parts = [np.asarray(one(draw([seed, a, b, i]))) for i in range(0, num, _CHUNK)]
    return np.concatenate(parts)[:num]


class GoodnessTable(NamedTuple):
    """ratio: (R,) b/a, ascending. p: (P,) descending. coefficients: (R, P, C), of `basis(K)`, for the T with that p."""

    ratio: np.ndarray
    p: np.ndarray
    coefficients: np.ndarray
    recipe: dict[str, Any]


@lru_cache(maxsize=1)
def load() -> GoodnessTable:
    """The table that comes with eigensweep."""
    path = files(__package__) / "goodness.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        recipe = json.loads(str(data["recipe"]))
        return GoodnessTable(data["ratio"], data["p"], data["coefficients"], recipe)


def p_value(t: np.ndarray, a: int, b: int, num_bulk: np.ndarray) -> np.ndarray:
    """P(T >= t) for Gaussian matrices, never below BOUND ("< 1e-5"); NaN for NaN.

    Beyond the table's smallest p ln P goes on as a straight line in t, which errs to the safe side: it is concave.

    Args:
      t, num_bulk: (B,) T and K, see `statistic`.
      a, b: longer and shorter side of the matrices.
    """
    t = np.asarray(t, np.float64)
    return np.array([_p_value(x, int(k) / a, int(k)) for x, k in zip(t, num_bulk, strict=True)]).reshape(t.shape)


def _p_value(t: float, ratio: float, num_bulk: int) -> float:
    if np.isnan(t):
        return float("nan")
    points, log_p = quantiles(ratio, num_bulk), np.log(load().p)
    if t < points[-1]:
        return float(np.exp(np.interp(t, points, log_p, left=0.0)))
    i = int(np.searchsorted(-load().p, -0.01))
    slope = (log_p[-1] - log_p[i]) / (points[-1] - points[i])
    return max(BOUND, float(np.exp(log_p[-1] + slope * (t - points[-1]))))


@lru_cache(maxsize=4096)
def quantiles(ratio: float, num_bulk: int) -> np.ndarray:
    """(P,) the T that Gaussian matrices exceed with the chances `load().p`, ascending.

    Constant beyond the table's ratios and below its smallest K; c0 + c1 ln K above its largest.
    """
    table = load()
    by_ratio = table.coefficients @ basis(max(num_bulk, min(table.recipe["b"])))
    return np.array([np.interp(ratio, table.ratio, column) for column in by_ratio.T])


def basis(num_bulk: ArrayLike) -> np.ndarray:
    """(C, ...) functions of K whose combination a quantile of T is; c + ln K beyond the simulated sizes."""
    k = np.asarray(num_bulk, np.float64)
    return np.stack([np.ones_like(k), np.log(k), 1 / k, 1 / k**2])
