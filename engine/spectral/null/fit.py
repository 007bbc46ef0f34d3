"""From histograms of the null at several n to one compact table (table.py).

Counts say everything down to p = 0.01. Below it every n is thin, but all are nearly alike: ln P(t) is fitted to all n
at once. The limit is the supremum of a Gaussian process whose variance peaks at 1/4, so P ~ C exp(-2 t^2), and the
corrections for finite n are powers of 1/sqrt(n):

    ln P(t; n) = ln P(t0; n) + sum_{j=1..3} sum_{k=0..2} a_jk (t - t0)^j n^(-k/2),    t >= t0,  P(t0) about 0.01,

by maximum likelihood of the counts between grid points, given that t >= t0. It continues the counted curve at t0 and
is used to p = 1e-6. The chi-square of the fit is part of the recipe.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from eigensweep.engine.spectral.null.histogram import BINS_PER_UNIT, NullHistogram

STEP = 1 / 64  # of t: linear interpolation of ln P then errs by 3e-4 of p or less
T_FIRST, T_FIT, T_LAST = 0.1875, 1.5625, 2.8125
POWERS_T = 3
POWERS_N = 2


def write_table(nulls: Sequence[NullHistogram], path: Path, command: str) -> str:
    """Fit and write the table; returns a line on how well the tail fits.

    Args:
      nulls: one a size, at least 3 sizes.
    """
    nulls = sorted(nulls, key=lambda h: h.n)
    t = np.arange(T_FIRST, T_LAST + STEP / 2, STEP)
    log_p = np.array([_counted(h, t) for h in nulls])
    tail = t >= T_FIT
    coefficients, chi2, cells = fit_tail(nulls, t[tail])
    for row, h in zip(log_p, nulls, strict=True):
        row[tail] = row[tail][0] + _tail(coefficients, t[tail] - T_FIT, h.n)
    quality = f"tail fit: chi2 = {chi2:.1f} over {cells} cells, {coefficients.size} coefficients"
    recipe = {
        "command": command,
        "eigensweep": version("eigensweep"),
        "jax": version("jax"),
        "n": [h.n for h in nulls],
        "num_draws": [h.num_draws for h in nulls],
        "seeds": [h.seed for h in nulls],
        "tail": quality,
        "coefficients": coefficients.tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    n = np.array([h.n for h in nulls])
    with path.open("wb") as file:
        np.savez_compressed(file, n=n, t=t, log_p=log_p.astype(np.float32), recipe=json.dumps(recipe))
    return quality


def fit_tail(nulls: Sequence[NullHistogram], t: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Coefficients a (POWERS_T, POWERS_N + 1) of the tail's curve, its chi-square and the number of cells in it.

    Args:
      t: grid of the tail; t[0] is where it begins, and everything above t[-1] is one cell.
    """
    from scipy.optimize import minimize

    counts = np.array([_cells(h, t) for h in nulls], dtype=np.float64)
    total = counts.sum(axis=1, keepdims=True)

    def cells(a: np.ndarray) -> np.ndarray:
        survival = np.array([np.exp(_tail(a.reshape(POWERS_T, -1), t - t[0], h.n)) for h in nulls])
        survival = np.concatenate([survival, np.zeros((len(nulls), 1))], axis=1)
        return np.maximum(survival[:, :-1] - survival[:, 1:], 1e-300)

    def loss(a: np.ndarray) -> float:
        return -float(np.sum(counts * np.log(cells(a)))) / total.sum()

    start = np.zeros((POWERS_T, POWERS_N + 1))
    start[:2, 0] = -4 * t[0], -2
    scale = min(h.n for h in nulls) ** (np.arange(POWERS_N + 1) / 2)  # comparable sizes for the optimiser
    found = minimize(lambda a: loss(a * np.tile(scale, POWERS_T)), (start / scale).ravel(), method="BFGS")
    a = found.x.reshape(POWERS_T, -1) * scale
    expected = cells(a.ravel()) * total
    enough = expected >= 10
    chi2 = float(np.sum((counts - expected)[enough] ** 2 / expected[enough]))
    return a, chi2, int(enough.sum())


def _tail(a: np.ndarray, tau: np.ndarray, n: int) -> np.ndarray:
    by_power = a @ float(n) ** (-np.arange(a.shape[1]) / 2)
    return sum(c * tau ** (j + 1) for j, c in enumerate(by_power))


def _survivors(null: NullHistogram, t: np.ndarray) -> np.ndarray:
    """Number of draws with sqrt(n) D >= t, at grid points t that are edges of bins."""
    survivors = np.concatenate([np.cumsum(null.counts[::-1])[::-1], [0]])
    return survivors[np.round(t * BINS_PER_UNIT).astype(int)]


def _counted(null: NullHistogram, t: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(_survivors(null, t) / null.num_draws)


def _cells(null: NullHistogram, t: np.ndarray) -> np.ndarray:
    survivors = _survivors(null, t)
    return survivors - np.append(survivors[1:], 0)
