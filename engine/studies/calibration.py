"""How often the outlier tests fire on pure noise."""

import jax
import jax.numpy as jnp

from eigensweep.engine.spectral import edges, noise
from eigensweep.engine.spectral.ensembles import gaussian_singular_values

LEVELS = (0.05, 0.01)


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
