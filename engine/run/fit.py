"""Noise, edges and outliers of a batch, whether the Marchenko-Pastur law fits at all, and what that says in words."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.spectral import edges, marchenko_pastur, noise
from eigensweep.engine.spectral.law import Law
from eigensweep.engine.spectral.null import goodness

SMALL = 16  # singular values below which a verdict is marked
LEAST_P = 3e-5  # the largest floor of a goodness-of-fit table: what reads "< 3e-5" does not hold at any level
HOLDS = "Marchenko-Pastur holds"
DESCRIPTIVE = "does not describe the bulk: outlier counts are descriptive, not tests"


@partial(jax.jit, static_argnames=("a", "b"))
def of_shape(
    s: jax.Array, sigma: jax.Array, thresholds: tuple[float, float], eps: float, *, a: int, b: int
) -> dict[str, jax.Array]:
    """Columns that follow from s (B, b) of (a, b) or (b, a) matrices; sigma (B,) sets the edges, the fit where NaN.

    Thresholds: the right and the left one of a law, in units of sigma; one program a shape serves all laws and levels.
    Counts are -1 where no edge test can be had, see `edges.num_outliers`.
    """

    def one(s: jax.Array, sigma: jax.Array) -> dict[str, jax.Array]:
        bulk = noise.sigma_bulk(s, a, b)
        sigma = jnp.where(jnp.isnan(sigma), bulk, sigma)
        nu_minus, nu_plus = marchenko_pastur.edges(a, b, sigma)
        right, left = edges.num_beyond(s, a, b, sigma, *thresholds, eps)
        distance = marchenko_pastur.ks_distance(s, a, b, sigma, right, left)
        share = _energy(s, right, left)
        statistic, num_bulk = goodness.statistic(s, a, b, bulk, eps)  # plain edges: so every law's T was simulated
        quasi_null = jnp.sum(s < nu_minus)
        return {
            "sigma": sigma,
            "sigma_bulk": bulk,
            "nu_minus": nu_minus,
            "nu_plus": nu_plus,
            "mp_ks": jnp.where(right < 0, jnp.nan, distance),
            "mp_gof": statistic,
            "num_bulk": num_bulk,
            "num_right_outliers": right,
            "num_left_outliers": left,
            **{f"energy_{part}": jnp.where(right < 0, jnp.nan, x) for part, x in share.items()},
            "mp_softrank": (nu_plus / s[0]) ** 2,
            "quasi_null_count": quasi_null,
            "quasi_null_fraction": quasi_null / b,
        }

    return jax.vmap(one)(s, sigma)


def _energy(s: jax.Array, right: jax.Array, left: jax.Array) -> dict[str, jax.Array]:
    """Shares of sum s^2 beyond the right edge, in the bulk, beyond the left edge."""
    index, evals = jnp.arange(s.size), s**2
    parts = {"right": index < right, "left": index >= s.size - left}
    parts["bulk"] = ~(parts["right"] | parts["left"])
    return {name: jnp.sum(jnp.where(part, evals, 0.0)) / jnp.sum(evals) for name, part in parts.items()}


def judge(found: dict[str, np.ndarray], a: int, b: int, level: float, law: Law) -> dict[str, np.ndarray]:
    """`mp_gof_p` and `mp_verdict` from columns of `of_shape` and `hard_rank`, (B,) each."""
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
