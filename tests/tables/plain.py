"""What the columns of a sweep say of themselves, in plain NumPy and SciPy: nothing of eigensweep's mathematics."""

from functools import cache

import numpy as np
from scipy import integrate, optimize, special, stats


def tracy_widom(x):
    """F1(x) = det(1 - Ai((s + t)/2)/2) on L^2(x, inf) (Bornemann)."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t, w = x + 8 * (nodes + 1), 8 * weights
    return np.linalg.det(np.eye(60) - special.airy((t[:, None] + t) / 2)[0] / 2 * np.sqrt(w[:, None] * w))


@cache
def quantile(p):
    """Of F1."""
    return optimize.brentq(lambda x: tracy_widom(x) - p, -8, 8)


def centre_and_scale(a, b, sign):
    """mu and sc of the largest value (sign 1), of the smallest (-1)."""
    c, d = (a - 0.5) ** 0.5, sign * (b - 0.5) ** 0.5
    return (c + d) ** 2, (c + d) * abs(1 / c + 1 / d) ** (1 / 3)


def edelman(y, b):
    """P(s_b < y) of a b x b matrix of unit noise."""
    return -np.expm1(-(b * y * y / 2 + b**0.5 * y))


def right_edge(a, b, level):
    """What s_1/sigma exceeds with probability `level`."""
    mu, sc = centre_and_scale(a, b, 1)
    return (mu + quantile(1 - level) * sc) ** 0.5


def left_edge(a, b, level):
    """What s_b/sigma falls below with probability `level`: Edelman's law of a square matrix, or the soft edge."""
    if a == b:
        return optimize.brentq(lambda y: edelman(y, b) - level, 0, 9)
    assert a - b > min(b / 4, 64), "Forrester's law is not here: take another matrix"
    mu, sc = centre_and_scale(a, b, -1)
    return mu**0.5 * np.exp(-quantile(1 - level) * sc / mu / 2)


def outliers(s, sigma, a, level):
    """Which s lie above the right and below the left edge."""
    return s > sigma * right_edge(a, len(s), level), s < sigma * left_edge(a, len(s), level)


def p_largest(x, a, b):
    """P(s_1/sigma > x)."""
    mu, sc = centre_and_scale(a, b, 1)
    return max(1e-9, 1 - tracy_widom(min((x * x - mu) / sc, 16)))


def p_smallest(x, a, b):
    """P(s_b/sigma < x)."""
    if a == b:
        return max(1e-9, edelman(x, b))
    mu, sc = centre_and_scale(a, b, -1)
    return max(1e-9, 1 - tracy_widom(min((np.log(mu) - 2 * np.log(x)) * mu / sc, 16)))


def law(h, k):
    """Angles t, lambda/sigma^2 and F of the Marchenko-Pastur law of an h x k matrix."""
    r, t = (k / h) ** 0.5, np.linspace(1e-7, np.pi, 1501)
    unit = 1 + r * r - 2 * r * np.cos(t)
    return t, h * unit, integrate.cumulative_trapezoid(2 / np.pi * np.sin(t) ** 2 / unit, t, initial=0)


def distance(cdf):
    """Kolmogorov-Smirnov: max over i of i/n - F_i and F_i - (i - 1)/n, F ascending in i; rows alike."""
    cdf, n = np.sort(cdf), cdf.shape[-1]
    i = np.arange(1, n + 1)
    return np.maximum(i / n - cdf, cdf - (i - 1) / n).max(axis=-1)


def mp_distance(s, sigma, a, k, l):
    """Kolmogorov-Smirnov distance of s without k and l outliers from the law of an (a - k) x (b - k - l) matrix."""
    bulk = s[k : len(s) - l]
    _, evals, cdf = law(a - k, len(bulk))
    return distance(np.interp((bulk / sigma) ** 2, evals, cdf))


def sigma_bulk(s, a, rounds=20):
    """The fixed point that the column's formula describes."""
    b, evals = len(s), np.sort(s) ** 2
    right, left = right_edge(a, b, 1e-4) ** 2, left_edge(a, b, 1e-4) ** 2
    variance = np.median(evals) / (a - b / 3)
    for _ in range(rounds):
        k, l = np.sum(evals > right * variance), np.sum(evals < left * variance)
        assert k + l <= b // 2
        h, size = a - k, b - k - l
        r = (size / h) ** 0.5
        t, lam, cdf = law(h, size)
        t1, t2 = 0.8 - 0.64 * r, 2.35 - 0.47 * r
        low, high = l + size * np.interp([t1, t2], t, cdf)
        weight = np.clip(np.minimum(np.arange(b) + 1, high) - np.maximum(np.arange(b), low), 0, 1)
        fine = np.linspace(t1, t2, 301)
        lam = h * (1 + r * r - 2 * r * np.cos(fine))
        density = size * 2 / np.pi * np.sin(fine) ** 2 * h / lam
        expected = np.trapezoid(lam * density - (1 / 4 - fine / (2 * np.pi)) * 2 * r * h * np.sin(fine), fine)
        variance = np.sum(weight * evals) / expected
    return variance**0.5


def scales(u, s, vt):
    """The Dyson equalizer's x and y, up to a factor each."""
    q = s**2 / (s**2 + np.median(s) ** 2)
    p = (u**2 @ q, q @ vt**2)
    return tuple(side / (1 - side) for side in p)


def equalise(w, rounds=2):
    """W_ij / sqrt(x_i y_j), x and y over their geometric means; and the x and y of all rounds."""
    x, y = np.ones(w.shape[0]), np.ones(w.shape[1])
    once = w
    for _ in range(rounds):
        u, s, vt = np.linalg.svd(once, full_matrices=False)
        new = scales(u, s, vt)
        x, y = (old * z / stats.gmean(z) for old, z in zip((x, y), new, strict=True))
        once = w / np.sqrt(np.outer(x, y))
    return once, x, y


def flips(w, k, l, num):
    """Largest and smallest singular value, (num, 2), of W without k right and l left components, random signs on it.

    The rest is raised to the scale of the noise, and the components' dimensions are projected out of every flip.
    """
    x, rng = w if w.shape[0] >= w.shape[1] else w.T, np.random.default_rng(7)
    (a, b), (u, s, vt) = x.shape, np.linalg.svd(x, full_matrices=False)
    out = np.r_[:k, b - l : b]
    rest = x - (u[:, out] * s[out]) @ vt[out]
    rest *= (a * b / ((a - k) * (b - k - l))) ** 0.5
    found = []
    for _ in range(num):
        flip = rest * rng.choice([-1, 1], rest.shape)
        flip -= u[:, :k] @ (u[:, :k].T @ flip)
        flip -= flip @ vt[out].T @ vt[out]
        found.append(np.linalg.svd(flip, compute_uv=False)[[0, b - k - l - 1]])
    return np.array(found)


def ks_of_vectors(x):
    """D of unit vectors, the rows of x."""
    return distance(special.ndtr(x.shape[1] ** 0.5 * x))


def benjamini_hochberg(p, level):
    """How many of p are rejected."""
    ordered = np.sort(p[~np.isnan(p)])
    passed = np.flatnonzero(ordered <= level * np.arange(1, ordered.size + 1) / max(ordered.size, 1))
    return passed[-1] + 1 if passed.size else 0


def power_law(evals):
    """alpha, xmin, D and the number of values of the best tail of at least 10, evals descending."""
    best = (np.inf,)
    for n in range(10, len(evals) + 1):
        y = evals[:n] / evals[n - 1]
        alpha = 1 + n / np.sum(np.log(y))
        d = distance(1 - y ** (1 - alpha))
        if d <= best[0]:
            best = (d, alpha, evals[n - 1], n)
    return best[1], best[2], best[0], best[3]


def likelihoods(tail, xmin):
    """Log-likelihood of every value of the tail under the four fitted laws, as densities in lambda >= xmin."""
    y = tail / xmin
    u = np.log(y)
    alpha = 1 + 1 / np.mean(u)
    rate = 1 / (np.mean(y) - 1)

    def lognormal(theta):
        mu, w = theta[0], np.exp(theta[1])
        return stats.norm.logpdf(u, mu, w) - stats.norm.logsf(0, mu, w) - u

    nodes, weights = np.polynomial.legendre.leggauss(400)
    z = 20 * (nodes + 1)  # u to 40

    def truncated(theta):
        power, cut = theta[0], np.exp(theta[1])
        norm = special.logsumexp((1 - power) * z - cut * np.expm1(z), b=20 * weights)
        return -power * u - cut * (y - 1) - norm

    def fitted(density, start, bounds):
        options = {"maxiter": 4000, "xatol": 1e-9, "fatol": 1e-10}
        found = optimize.minimize(
            lambda theta: -density(theta).sum(), start, method="Nelder-Mead", bounds=bounds, options=options
        )
        return density(found.x)

    return {
        "power": np.log(alpha - 1) - alpha * u,
        "exponential": np.log(rate) - rate * (y - 1),
        "lognormal": fitted(lognormal, (np.mean(u), np.log(np.std(u))), ((-30, 10), (-5, 5))),
        "truncated": fitted(truncated, (alpha / 2, np.log(rate / 2)), ((0, 20), (-20, 5))),
    }
