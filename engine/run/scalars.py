"""What the singular values of a batch alone tell: measures and power law, noise, edges and outliers.

Compiled once a b (`_of_values`) and once a shape (`_of_shape`), for chunks of `ROWS_AT_ONCE` rows, whatever the batch.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.run.options import SweepOptions
from eigensweep.engine.spectral import edges, marchenko_pastur, measures, noise, power_law

ROWS_AT_ONCE = 8


def scalar_statistics(
    s: np.ndarray, sigma: np.ndarray, shape: tuple[int, int], eps: float, options: SweepOptions
) -> dict[str, np.ndarray]:
    """The columns of `schema.SCALARS` that follow from s.

    Args:
      s: (B, b) float64, descending.
      sigma: (B,) sets the edges; the bulk fit where it is NaN.
      shape: (m, n) of the matrices.
      eps: of the stored dtype, for the numerical rank.

    Returns:
      (B,) arrays.
    """
    batch, padded = len(s), -len(s) % ROWS_AT_ONCE
    s, sigma = (np.concatenate([x, np.repeat(x[-1:], padded, axis=0)]) for x in (s, sigma))
    a, b = max(shape), min(shape)
    parts = []
    for i in range(0, len(s), ROWS_AT_ONCE):
        rows = slice(i, i + ROWS_AT_ONCE)
        found = _of_values(s[rows], float(a), eps, power=options.power_law)
        found |= _of_shape(s[rows], sigma[rows], a=a, b=b, eps=eps, level=options.level)
        parts.append(jax.device_get(found))
    return {key: np.concatenate([part[key] for part in parts])[:batch] for key in parts[0]}


@partial(jax.jit, static_argnames="power")
def _of_values(s: jax.Array, a: float, eps: float, *, power: str) -> dict[str, jax.Array]:
    """Measures and power law; a is the longer side."""

    def one(s: jax.Array) -> dict[str, jax.Array]:
        found = measures.measures(s, a, 1, eps)
        evals = s**2
        # what lies beyond the numerical rank is rounding, which has a power law of its own; WeightWatcher fits it, too
        within = jnp.arange(s.size) < found["hard_rank"]
        law = power_law.fit(
            evals if power == "weightwatcher" else jnp.where(within, evals, 0.0), method=power
        )
        return found | {
            "alpha": law.alpha,
            "xmin": law.xmin,
            "pl_d": law.d,
            "pl_sigma": law.sigma,
            "num_pl_spikes": law.num_spikes,
            "alpha_weighted": measures.alpha_weighted(law.alpha, evals[0]),
            "log_alpha_norm": measures.log_alpha_norm(s, law.alpha),
        }

    return jax.vmap(one)(s)


@partial(jax.jit, static_argnames=("a", "b", "eps", "level"))
def _of_shape(
    s: jax.Array, sigma: jax.Array, *, a: int, b: int, eps: float, level: float
) -> dict[str, jax.Array]:
    """Noise, edges and outliers of (a, b) or (b, a) matrices."""

    def one(s: jax.Array, sigma: jax.Array) -> dict[str, jax.Array]:
        bulk = noise.sigma_bulk(s, a, b)
        sigma = jnp.where(jnp.isnan(sigma), bulk, sigma)
        nu_minus, nu_plus = marchenko_pastur.edges(a, b, sigma)
        right, left = edges.num_outliers(s, a, b, sigma, level, eps)
        left = jnp.where(nu_plus < s[0] * a * eps, 0, left)  # a bulk that is all rounding has no left edge
        index = jnp.arange(b)
        in_bulk = (index >= right) & (index < b - left)
        quasi_null = jnp.sum(s < nu_minus)
        return {
            "sigma": sigma,
            "sigma_bulk": bulk,
            "nu_minus": nu_minus,
            "nu_plus": nu_plus,
            "mp_ks": marchenko_pastur.ks_distance(s, a, b, sigma, in_bulk),
            "num_right_outliers": right,
            "num_left_outliers": left,
            "mp_softrank": (nu_plus / s[0]) ** 2,
            "quasi_null_count": quasi_null,
            "quasi_null_fraction": quasi_null / b,
        }

    return jax.vmap(one)(s, sigma)
