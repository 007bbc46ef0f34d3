"""The generalised Marchenko-Pastur law: against closed forms, equations that it must solve, and simulation."""

import numpy as np
import pytest

from eigensweep.engine.spectral import marchenko_pastur
from eigensweep.engine.spectral.generalised_law import GeneralisedLaw, SingularLaw

D = 150
POPULATIONS = {
    "point": (np.array([2.0]), np.array([1.0])),
    "points": (np.array([1.0, 3.0, 10.0]), np.array([0.5, 0.3, 0.2])),
    "power law": (np.arange(1, D + 1) ** -1.0, np.ones(D)),
    "two levels": (np.array([1.0, 20.0]), np.array([0.9, 0.1])),
}


def simulate(points, weights, d, m, num, rng):
    """(num, d) eigenvalues of (1/m) T^(1/2) G^T G T^(1/2), descending."""
    counts = np.round(weights / weights.sum() * d).astype(int)
    assert counts.sum() == d
    tau = np.repeat(points, counts)
    found = []
    for _ in range(num):
        g = rng.standard_normal((m, d)) * np.sqrt(tau)
        found.append(np.linalg.eigvalsh(g.T @ g / m)[::-1])
    return np.array(found)


def distance(f):
    rank = np.arange(f.shape[-1], 0, -1) / f.shape[-1]
    return np.max(np.maximum(rank - f, f - rank + 1 / f.shape[-1]), axis=-1)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", POPULATIONS)
def test_simulations_lie_as_near_to_the_law_as_to_one_another(name, ratio):
    """The null of a distance: that of a simulation from all others together, which is the truth of this size."""
    points, weights = POPULATIONS[name]
    d, num = D, 24
    evals = simulate(points, weights, d, round(d / ratio), num, np.random.default_rng(7))
    law = GeneralisedLaw(points, d / round(d / ratio), weights)
    ours = distance(law.cdf(evals))
    others = [np.sort(np.delete(evals, i, 0).ravel()) for i in range(num)]
    null = np.array([distance(np.searchsorted(o, e, "right") / o.size) for o, e in zip(others, evals, strict=True)])
    assert ours.mean() < null.mean() + 3 * null.std() / np.sqrt(num) + 0.2 / d
    assert ours.max() < null.max() + 1 / d
    # a law of a slightly other scale is told apart
    assert distance(law.cdf(1.1 * evals)).mean() > null.mean() + 3 * null.std() / np.sqrt(num) + 0.2 / d


@pytest.mark.parametrize("ratio", [0.05, 0.5, 1.0])
def test_one_point_mass_is_marchenko_pastur(ratio):
    law, m = GeneralisedLaw([2.0, 2.0], ratio), 1000
    n = round(ratio * m)
    assert law.support[0] == pytest.approx(2 * (1 + np.array([-1, 1]) * np.sqrt(ratio)) ** 2, abs=1e-12)
    x = np.linspace(law.support[0, 0], law.support[0, 1], 41)[1:-1]
    s = np.sqrt(m * x)
    np.testing.assert_allclose(law.cdf(x), marchenko_pastur.cdf(s, m, n, np.sqrt(2)), atol=1e-11)
    singular = SingularLaw(law, m)
    np.testing.assert_allclose(singular.pdf(s), marchenko_pastur.pdf(s, m, n, np.sqrt(2)), rtol=1e-5)
    np.testing.assert_allclose(singular.cdf(s), law.cdf(x), atol=1e-14)
    np.testing.assert_allclose(law.quantile(law.cdf(x)), x, atol=1e-6)


def test_more_dimensions_than_samples_leave_an_atom():
    """M and its companion, (1/m) G T G^T, have the same eigenvalues but for zeros: y = 2 in terms of y = 1/2."""
    law, other = GeneralisedLaw([1.0], 2.0), GeneralisedLaw([1.0], 0.5)
    assert law.atom == 0.5
    np.testing.assert_allclose(law.support, 2 * other.support, rtol=1e-12)
    x = np.linspace(*law.support[0], 9)
    np.testing.assert_allclose(law.cdf(x), 0.5 + 0.5 * other.cdf(x / 2), atol=1e-10)
    assert law.cdf([-1.0, 0.0]).tolist() == [0.0, 0.5]
    assert law.quantile([0.0, 0.3, 1.0, 1.1])[:2].tolist() == [0.0, 0.0]
    assert GeneralisedLaw([0.0, 1.0], 0.5, [3, 1]).atom == 0.75


@pytest.mark.parametrize("name", POPULATIONS)
def test_stieltjes_transform_solves_the_equation_and_gives_the_density(name):
    points, weights = POPULATIONS[name]
    weights, y = weights / weights.sum(), 0.3
    law = GeneralisedLaw(points, y, weights)
    x = np.linspace(0.8 * law.support[0, 0], 1.2 * law.support[-1, 1], 25)
    for height in (1.0, 1e-3):
        z = x + 1j * height
        m = law.stieltjes(z)
        assert (m.imag > 0).all()
        s = y * m - (1 - y) / z
        residual = z + 1 / s - y * np.sum(weights * points / (1 + points * s[:, None]), axis=1)
        assert np.abs(residual).max() < 1e-9 * np.abs(z).max()
    inside = x[(law.cdf(x) > 0.05) & (law.cdf(x) < 0.95) & (law.pdf(x) > 0.05 * law.pdf(x).max())]
    np.testing.assert_allclose(law.stieltjes(inside + 1e-9j).imag / np.pi, law.pdf(inside), rtol=1e-4)


def test_support_of_two_levels_splits_where_the_discriminant_says():
    """Edges are images of the critical points: for two points the real zeros of a polynomial of degree four."""
    t, h = np.array([1.0, 5.0]), np.array([0.4, 0.6])
    for y, intervals in ((0.05, 2), (0.9, 1)):
        law = GeneralisedLaw(t, y, h)
        first, second = np.poly1d([1, -2, 1]), np.poly1d([1, -10, 25])
        w = (first * second - y * (h[0] * second + 25 * h[1] * first)).roots
        w = np.sort(w[np.abs(w.imag) < 1e-9].real)
        edges = w * (1 + y * np.sum(h * t / (w[:, None] - t), axis=1))
        np.testing.assert_allclose(law.support.ravel(), np.sort(edges), rtol=1e-9)
        assert len(law.support) == intervals
        np.testing.assert_allclose(law.cdf(law.support[:, 1]), [1.0] if intervals == 1 else [0.4, 1.0], atol=1e-12)


@pytest.mark.parametrize("name", POPULATIONS)
def test_cdf_is_the_integral_of_the_density_and_moments_are_the_populations(name):
    """First two moments of M: int tau, int tau^2 + y (int tau)^2."""
    points, weights = (x[:30] for x in POPULATIONS[name])
    weights, y = weights / weights.sum(), 0.2
    law = GeneralisedLaw(points, y, weights, cells=1200)
    for low, high in law.support:
        x = low + (high - low) * np.sin(np.linspace(0, np.pi / 2, 1001)) ** 2
        integral = np.r_[0, np.cumsum((law.pdf(x[1:]) + law.pdf(x[:-1])) / 2 * np.diff(x))]
        np.testing.assert_allclose(integral, law.cdf(x) - law.cdf(low), atol=1e-5)
    nodes, share = law.nodes()
    mean = weights @ points
    np.testing.assert_allclose(share @ nodes, mean, rtol=1e-4)
    np.testing.assert_allclose(share @ nodes**2, weights @ points**2 + y * mean**2, rtol=1e-4)


@pytest.mark.parametrize(
    ("points", "ratio", "weights", "says"),
    [
        ([], 0.5, None, "not all 0"),
        ([0.0], 0.5, None, "not all 0"),
        ([-1.0], 0.5, None, "non-negative"),
        ([np.nan], 0.5, None, "finite"),
        ([1.0], 0.0, None, "ratio"),
        ([1.0], np.inf, None, "ratio"),
        ([1.0], 0.5, [0.0], "weights must be positive"),
        ([1.0, 2.0], 0.5, [1.0], "one for each"),
    ],
)
def test_what_is_no_population_is_refused(points, ratio, weights, says):
    with pytest.raises(ValueError, match=says):
        GeneralisedLaw(points, ratio, weights)


def test_stieltjes_is_taken_in_the_upper_half_plane():
    with pytest.raises(ValueError, match="Im z > 0"):
        GeneralisedLaw([1.0], 0.5).stieltjes(1.0)
