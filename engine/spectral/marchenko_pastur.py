"""The Marchenko-Pastur law of the singular values, in closed form.

Let W be m x n with independent entries of mean 0 and standard deviation sigma, a = max(m, n), b = min(m, n),
r = sqrt(b/a), q = a/b. With the angle theta in [0, pi] defined by

    s^2 / (sigma^2 a) = lambda / sigma^2 = 1 + r^2 - 2 r cos(theta),

which runs from the lower edge (theta = 0) to the upper one (theta = pi), the law of the b singular values is

    density    (2/pi) sin(theta)^2 / (1 + r^2 - 2 r cos(theta))
    cdf        (theta + sin(theta)/r - (1 - r^2)/r^2 * beta) / pi,   beta = atan2(r sin(theta), 1 - r cos(theta)).

This form has no 0/0 at the edges and none in the square case, where it is (theta + sin(theta))/pi.

Reference: V. A. Marchenko, L. A. Pastur, Distribution of eigenvalues for some sets of random matrices, 1967.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from eigensweep.engine.spectral.arrays import compiled, namespace

_BISECTIONS = 6  # leave a bracket of pi/64, inside which Newton's steps converge
_STEPS = 30  # bisections included; the cubic zeros at the edges cost Newton a factor 2/3 a step


def edges(m: int, n: int, sigma: Any) -> tuple[Array, Array]:
    """Edges of the singular values: nu_(-/+) = sigma * (sqrt(a) -/+ sqrt(b)).

    Args:
      m, n: shape of the matrix, static, both at least 1.
      sigma: standard deviation of the entries.

    Returns:
      (nu_minus, nu_plus), float64, in the units of the singular values.
    """
    xp = namespace(sigma)
    a, b = _sides(m, n)
    sigma = xp.asarray(sigma, xp.float64)
    total = a**0.5 + b**0.5
    return sigma * ((a - b) / total), sigma * total


@compiled("m", "n")
def pdf(nu: Any, m: int, n: int, sigma: Any) -> Array:
    """Density of the singular values, float64, any shape of nu; sigma > 0.

    sqrt((nu_+^2 - nu^2)(nu^2 - nu_-^2)) / (pi sigma^2 b nu) between the edges, 0 outside.
    """
    xp = namespace(nu, sigma)
    _, b = _sides(m, n)
    nu, sigma = xp.asarray(nu, xp.float64), xp.asarray(sigma, xp.float64)
    low, high = edges(m, n, sigma)
    upper = xp.sqrt((high - nu) * (high + nu))
    # sqrt(nu^2 - nu_-^2)/nu; 1 throughout in the square case, nu = 0 included
    lower = xp.sqrt(1 - xp.where(low > 0, low / nu, 0.0) ** 2)
    return xp.where((nu >= low) & (nu <= high), upper * lower / (xp.pi * sigma**2 * b), 0.0)


@compiled("m", "n")
def cdf(nu: Any, m: int, n: int, sigma: Any) -> Array:
    """Fraction of the b singular values that are at most nu; float64, any shape of nu. With sigma = 0: 1 above 0."""
    xp = namespace(nu, sigma)
    a, b = _sides(m, n)
    nu = xp.asarray(nu, xp.float64)
    low, high = edges(m, n, sigma)
    above, below = (nu - low) * (nu + low), (high - nu) * (high + nu)
    return angle_cdf(_angle(xp.where(nu < low, 0, above), below), (b / a) ** 0.5)


def quantile(p: Any, m: int, n: int, sigma: Any) -> Array:
    """Inverse of `cdf`: the singular value below which a fraction p lies; p in [0, 1], any shape."""
    a, b = _sides(m, n)
    r = (b / a) ** 0.5
    return jnp.asarray(sigma, jnp.float64) * a**0.5 * jnp.sqrt(angle_eigenvalue(angle_quantile(p, r), r))


def ks_distance(s: Array, m: int, n: int, sigma: Any, num_right: Any, num_left: Any) -> Array:
    """Kolmogorov-Smirnov distance between the singular values that are no outliers and the law of what is left.

    D = max over the K = b - k - l values of the bulk of max(i/K - F(s_i), F(s_i) - (i - 1)/K), i their rank from below,
    k = num_right, l = num_left. F is the law of an (a - k) x (b - k - l) matrix: k strong spikes take k dimensions from
    both sides of W, l missing directions only from the shorter (the law of the full shape would put a perfect spiked
    matrix at about k/b).

    Args:
      s: (b,) singular values, descending.
      m, n: shape of the matrix, static.
      sigma: standard deviation of the noise.
      num_right, num_left: how many values at either end are no part of the bulk; may be traced.

    Returns:
      float64 scalar in [0, 1]; NaN where the bulk is empty or sigma is no positive number.
    """
    xp = namespace(s, sigma, num_right, num_left)
    a, b = _sides(m, n)
    assert s.shape == (b,), f"{s.shape} singular values of a {m} x {n} matrix"
    # counts as float64, too: the quotient of two int32 is a float32
    sigma, k, left = (xp.asarray(x, xp.float64) for x in (sigma, num_right, num_left))
    count = b - k - left
    r = xp.sqrt(xp.maximum(count, 1) / (a - k))
    lam = (s / (sigma * xp.sqrt(a - k))) ** 2
    f = angle_cdf(_angle(lam - (1 - r) ** 2, (1 + r) ** 2 - lam), r)
    index = xp.arange(b)
    rank = b - left - index  # from below, 1 for the smallest of the bulk
    distance = xp.maximum(rank / count - f, f - (rank - 1) / count)
    in_bulk = (index >= k) & (index < b - left)
    return xp.where((count > 0) & (sigma > 0), xp.max(xp.where(in_bulk, distance, 0.0)), xp.nan)


def angle_cdf(theta: Any, r: Any) -> Array:
    """The law's cdf at the angle theta in [0, pi]; r = sqrt(b/a) in (0, 1], may be traced."""
    xp = namespace(theta, r)
    theta, r = xp.asarray(theta, xp.float64), xp.asarray(r, xp.float64)
    rsin = r * xp.sin(theta)
    beta = xp.arctan2(rsin, 1 - r * xp.cos(theta))
    return xp.clip((theta + (rsin - (1 - r**2) * beta) / r**2) / xp.pi, 0, 1)


def angle_pdf(theta: Any, r: Any) -> Array:
    """The law's density in the angle: (2/pi) sin(theta)^2 / (1 + r^2 - 2 r cos(theta))."""
    xp = namespace(theta, r)
    return 2 / xp.pi * xp.sin(theta) ** 2 / angle_eigenvalue(theta, r)


def angle_eigenvalue(theta: Any, r: Any) -> Array:
    """lambda/sigma^2 = (1 - r)^2 + 4 r sin(theta/2)^2, without cancellation at the lower edge."""
    xp = namespace(theta, r)
    theta, r = xp.asarray(theta, xp.float64), xp.asarray(r, xp.float64)
    return (1 - r) ** 2 + 4 * r * xp.sin(theta / 2) ** 2


@jax.jit
def angle_quantile(p: Any, r: Any) -> Array:
    """The angle at which `angle_cdf` is p: bisections, then Newton kept inside the bracket. NaN outside [0, 1]."""
    p, r = jnp.broadcast_arrays(jnp.asarray(p, jnp.float64), jnp.asarray(r, jnp.float64))

    def step(i: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, theta = state
        excess = angle_cdf(theta, r) - p
        low, high = jnp.where(excess < 0, theta, low), jnp.where(excess < 0, high, theta)
        newton = theta - excess / angle_pdf(theta, r)
        good = (i >= _BISECTIONS) & (newton >= low) & (newton <= high)
        return low, high, jnp.where(good, newton, (low + high) / 2)

    zero = jnp.zeros_like(p)
    theta = jax.lax.fori_loop(0, _STEPS, step, (zero, zero + jnp.pi, zero + jnp.pi / 2))[2]
    theta = jnp.where(p <= 0, 0.0, jnp.where(p >= 1, jnp.pi, theta))
    return jnp.where((p >= 0) & (p <= 1), theta, jnp.nan)


def _angle(above: Array, below: Array) -> Array:
    """theta from the distances of lambda to the lower and the upper edge, in any common unit; clipped to [0, pi]."""
    xp = namespace(above, below)
    return 2 * xp.arctan2(xp.sqrt(xp.maximum(above, 0)), xp.sqrt(xp.maximum(below, 0)))


def _sides(m: int, n: int) -> tuple[int, int]:
    if m < 1 or n < 1:
        raise ValueError(f"a matrix needs at least one row and one column, got shape ({m}, {n})")
    return max(m, n), min(m, n)
