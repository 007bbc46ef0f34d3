"""Noise, edges and outliers of a batch, whether the Marchenko-Pastur law fits at all, and what that says in words."""

import numpy as np
from jax import Array

from eigensweep.engine.spectral import edges, marchenko_pastur, noise
from eigensweep.engine.spectral.arrays import compiled, namespace
from eigensweep.engine.spectral.law import Law
from eigensweep.engine.spectral.null import goodness

SMALL = 16  # singular values below which a verdict is marked
LEAST_P = 3e-5  # the largest floor of a goodness-of-fit table: what reads "< 3e-5" does not hold at any level
HOLDS = "Marchenko-Pastur holds"
DESCRIPTIVE = "does not describe the bulk: outlier counts are descriptive, not tests"


@compiled("a", "b")
def of_matrix(
    s: Array, sigma: Array, thresholds: tuple[float, float], eps: float, *, a: int, b: int
) -> dict[str, Array]:
    """Columns that follow from s (b,) of an (a, b) or (b, a) matrix; sigma sets the edges, the fit where NaN.

    Thresholds: the right and the left one of a law, in units of sigma; one program a shape serves all laws and levels.
    Counts are -1 where no edge test can be had, see `edges.num_outliers`.
    """
    xp = namespace(s, sigma)
    bulk = noise.sigma_bulk(s, a, b)
    sigma = xp.where(xp.isnan(sigma), bulk, sigma)
    nu_minus, nu_plus = marchenko_pastur.edges(a, b, sigma)
    right, left = edges.num_beyond(s, a, b, sigma, *thresholds, eps)
    distance = marchenko_pastur.ks_distance(s, a, b, sigma, right, left)
    share = _energy(s, right, left)
    statistic, num_bulk = goodness.statistic(s, a, b, bulk, eps)  # plain edges: so every law's T was simulated
    quasi_null = xp.sum(s < nu_minus)
    return {
        "sigma": sigma,
        "sigma_bulk": bulk,
        "nu_minus": nu_minus,
        "nu_plus": nu_plus,
        "mp_ks": xp.where(right < 0, xp.nan, distance),
        "mp_gof": statistic,
        "num_bulk": num_bulk,
        "num_right_outliers": right,
        "num_left_outliers": left,
        **{f"energy_{part}": xp.where(right < 0, xp.nan, x) for part, x in share.items()},
        "mp_softrank": (nu_plus / s[0]) ** 2,
        "quasi_null_count": quasi_null,
        "quasi_null_fraction": quasi_null / b,
    }


def _energy(s: Array, right: Array, left: Array) -> dict[str, Array]:
    """Shares of sum s^2 beyond the right edge, in the bulk, beyond the left edge."""
    xp = namespace(s, right, left)
    index, evals = xp.arange(s.size), s**2
    parts = {"right": index < right, "left": index >= s.size - left}
    parts["bulk"] = ~(parts["right"] | parts["left"])
    return {name: xp.sum(xp.where(part, evals, 0.0)) / xp.sum(evals) for name, part in parts.items()}


def judge(found: dict[str, np.ndarray], a: int, b: int, level: float, law: Law) -> dict[str, np.ndarray]:
    """`mp_gof_p` and `mp_verdict` from columns of `of_matrix` and `hard_rank`, (B,) each."""
    p = law.gof_p(found["mp_gof"], a, b, found["num_bulk"])
    rows = zip(p, found["num_right_outliers"], found["num_left_outliers"], found["hard_rank"], strict=True)
    return {"mp_gof_p": p, "mp_verdict": np.array([_verdict(*row, b, level) for row in rows], dtype=object)}


def _verdict(p: float, right: int, left: int, rank: int, b: int, level: float) -> str:
    if b < edges.FEWEST:
        return f"undetermined: fewer than {edges.FEWEST} singular values"
    if 2 * rank < b:
        return f"rank {rank}: no bulk"
    if right < 0 or np.isnan(p):
        return "undetermined: no noise level"
    count = int(right + left)
    if 2 * count > b:
        words = "undetermined: more than half of the singular values are outliers"
    elif p <= max(level, LEAST_P):
        words = DESCRIPTIVE
    else:
        words = f"holds with {count} spike{'s' * (count > 1)}" if count else HOLDS
    return f"{words} (small matrix)" if b < SMALL else words
