"""Moments, counts and fitted shapes of many numbers, gathered in parts, against NumPy and SciPy on all of them."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import log_histogram, moments, shapes
from eigensweep.engine.spectral.distribution import Distribution


def assert_moments(found, x):
    """Of the columns of x, against NumPy and SciPy."""
    np.testing.assert_array_equal(found.count, len(x))
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.sd, x.std(0), rtol=1e-9)
    np.testing.assert_allclose(found.skewness, scipy.stats.skew(x), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.kurtosis, scipy.stats.kurtosis(x), rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(found.low, x.min(0))
    np.testing.assert_array_equal(found.high, x.max(0))


@pytest.mark.parametrize("seed", range(4))
def test_moments_of_any_split_are_those_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    x = rng.lognormal(size=(997, 3)) * [1.0, 30.0, 1e-3] + [0.0, 1e4, -5.0]
    cuts = np.sort(rng.integers(0, 998, rng.integers(1, 12)))  # some parts are empty
    parts = [moments.moments(part) for part in np.split(x, cuts)]
    total = moments.zero((3,))
    for part in parts:
        total = moments.merge(total, part)
    assert_moments(total, x)
    stacked = moments.Moments(*(np.stack(values) for values in zip(*parts, strict=True)))
    assert_moments(moments.pooled(stacked), x)
    mask = rng.random(997) < 0.7
    hidden = np.where(mask[:, None], x, np.nan)
    assert_moments(moments.moments(hidden, mask), x[mask])
    found = moments.moments(jnp.asarray(hidden), jnp.asarray(mask))
    assert_moments(moments.Moments(*map(np.asarray, found)), x[mask])


def test_pooled_dimensions_are_all_numbers_together():
    x = np.random.default_rng(0).standard_t(3, (400, 7)) * np.arange(1, 8)
    assert_moments(moments.pooled(moments.moments(x)), x.reshape(-1))


def test_equal_numbers_have_no_shape():
    found = moments.moments(np.full((10, 1), 3.25))
    assert found.sd == 0
    assert np.isnan(found.skewness)
    assert np.isnan(found.kurtosis)


def test_rows_end_with_the_same_sums_in_batches_of_any_size():
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((12, 9, 5)).astype(np.float32), np.arange(9) < rng.integers(1, 10, (12, 1))
    results = []
    for size in (1, 4, 5, 12):
        total = None
        for start in range(0, 12, size):
            part = Distribution.of_rows(x[start : start + size], mask[start : start + size])
            total = part if total is None else total.merged(part)
        results.append(total)
    for one in results[1:]:
        np.testing.assert_allclose(one.parts, results[0].parts, rtol=1e-13, atol=1e-13)
        np.testing.assert_array_equal(one.counts, results[0].counts)
    assert_moments(results[0].parts, x[mask].astype(np.float64))


def test_counts_are_those_of_numpy_on_every_grid():
    rng = np.random.default_rng(1)
    parts = (rng.standard_normal(5000), 1e3 * rng.standard_normal(50), np.zeros(7), [1e-42])
    x = np.concatenate(parts).astype(np.float32)
    found = Distribution.of(np.concatenate((x, np.float32([np.nan, np.inf, -np.inf]))))
    assert log_histogram.non_finite(found.counts) == 3
    assert found.all.count == len(x)
    for edges, counts in (found.ordered, found.histogram):
        assert counts.sum() == len(x)
        inner = edges[1:-1]
        for at, below in zip(inner, np.cumsum(counts), strict=False):
            assert below == np.sum(x < at) if at >= 0 else below == np.sum(x <= at)
    assert len(found.histogram[1]) < 400
    np.testing.assert_allclose(np.diff(found.histogram[0])[found.histogram[0][:-1] ** 2 < 1].max(), 0.1, rtol=0.3)
    levels = np.array([0.001, 0.05, 0.25, 0.75, 0.99])
    for level, value in zip(levels, found.quantiles(levels), strict=True):
        within = abs(value) / 128 + 1e-3
        assert np.mean(x < value - within) - 1 / len(x) <= level <= np.mean(x <= value + within) + 1 / len(x)
    rows, mask = x.reshape(2, -1, 1), np.arange(2529) < [[2529], [1000]]
    on_device = log_histogram.count(jnp.asarray(rows), jnp.asarray(mask))
    np.testing.assert_array_equal(on_device, log_histogram.count(rows[mask]))


def test_no_numbers_have_no_shape():
    found = Distribution.of(np.zeros(0))
    assert found.all.count == 0
    assert np.isnan(found.quantiles()).all()
    assert found.fits == {}
    assert np.isnan(found.tail.shape)


LAWS = {
    "normal": scipy.stats.norm(3, 2),
    "logistic": scipy.stats.logistic(-1, 0.5),
    "laplace": scipy.stats.laplace(0, 1e-3),
    "student_t": scipy.stats.t(3, 1, 20),
    "generalised_normal": scipy.stats.gennorm(1.4, 0, 1),
}


@pytest.mark.parametrize("law", LAWS)
def test_fits_to_bins_are_scipys_to_the_numbers_and_the_right_law_wins(law):
    x = LAWS[law].rvs(20_000, random_state=0).astype(np.float32)
    fits, x = Distribution.of(x).fits, x.astype(np.float64)
    assert min(fits, key=lambda name: fits[name].aic) == law
    references = {name: frozen.dist for name, frozen in LAWS.items()}
    for name, fit in fits.items():
        if name == law:
            expected = references[name].fit(x)
        elif name in ("normal", "laplace") and law != "student_t":  # its few huge numbers fill wide bins
            expected = references[name].fit(x)  # in closed form
        else:
            continue
        aic = 2 * len(expected) / len(x) - 2 * references[name].logpdf(x, *expected).mean()
        assert fit.aic == pytest.approx(aic, abs=6e-3)
        tolerance = 0.02 * expected[-1] * (1 if name == law else 3)
        assert fit.loc == pytest.approx(expected[-2], abs=tolerance)
        assert fit.scale == pytest.approx(expected[-1], abs=tolerance)
        if len(expected) == 3:
            assert fit.shape == pytest.approx(expected[0], rel=0.03)


@pytest.mark.parametrize(("law", "shape"), [("normal", np.nan), ("logistic", np.nan), ("laplace", np.nan),
                                            ("student_t", 2.5), ("generalised_normal", 0.7)])  # fmt: skip
def test_probabilities_of_bins_are_right_also_where_they_underflow(law, shape):
    reference = LAWS[law].dist(*([shape] if shape == shape else []))
    edges = np.array([-3.0, -0.5, 0.2, 1.0, 4.0, 6.0])
    found = np.exp(shapes.log_probability(law, edges, shape))
    np.testing.assert_allclose(found, np.diff(reference.cdf(edges)), rtol=1e-9)
    far = shapes.log_probability(law, np.array([60.0, 61.0]), shape)[0]
    log_density = reference.logpdf(np.linspace(60, 61, 10_001))
    middle = np.log(np.trapezoid(np.exp(log_density - log_density[0]), dx=1e-4)) + log_density[0]
    assert far == pytest.approx(middle, abs=2e-3)


def test_the_tail_of_a_gaussian_is_parabolic_and_that_of_an_exponential_straight():
    """Means over ten draws of 20,000; the exponent of a single draw strays by about 0.25."""
    found = {name: [Distribution.of(LAWS[name].rvs(20_000, random_state=seed)).tail for seed in range(10)]
             for name in ("normal", "laplace")}  # fmt: skip
    means = {name: np.mean(tails, axis=0) for name, tails in found.items()}
    assert means["normal"][0] == pytest.approx(2, abs=0.25)
    assert means["laplace"][0] == pytest.approx(1, abs=0.15)
    assert all(tail.straight < 0 for tail in found["normal"])
    assert all(tail.straight > 0 for tail in found["laplace"])
    heavy = Distribution.of(LAWS["student_t"].rvs(20_000, random_state=0)).tail
    assert heavy.shape < 0.6
