"""The Marchenko-Pastur law against its textbook density, integrated numerically, and against Gaussian matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from eigensweep.engine.spectral import ensembles
from eigensweep.engine.spectral import marchenko_pastur as mp

SHAPES = [(300, 300), (384, 1536), (768, 767), (30522, 16), (5, 1)]
P = np.array([0, 1e-12, 1e-6, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9, 1])


def textbook_pdf(nu, m, n, sigma):
    a, b = max(m, n), min(m, n)
    st = sigma * np.sqrt(a)
    low, high = st * (1 - np.sqrt(b / a)), st * (1 + np.sqrt(b / a))
    if not low < nu < high:
        return 0.0
    return (a / b) / (np.pi * st**2 * nu) * np.sqrt((high**2 - nu**2) * (nu**2 - low**2))


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_pdf_is_the_textbook_density(m, n):
    low, high = mp.edges(m, n, 0.02)
    nu = np.linspace(float(low) * 0.9, float(high) * 1.1, 101)[1:]
    expected = [textbook_pdf(x, m, n, 0.02) for x in nu]
    np.testing.assert_allclose(mp.pdf(nu, m, n, 0.02), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_cdf_is_the_integral_of_the_density(m, n):
    low, high = (float(e) for e in mp.edges(m, n, 0.02))
    nu = low + (high - low) * np.array([1e-3, 0.1, 0.35, 0.8, 0.999])

    def integral(top):  # in the angle the integrand is smooth at both edges
        def density(theta):
            x = (low + high) / 2 - (high - low) / 2 * np.cos(theta)
            return textbook_pdf(x, m, n, 0.02) * (high - low) / 2 * np.sin(theta)

        end = np.arccos(((low + high) / 2 - top) / ((high - low) / 2))
        return scipy.integrate.quad(density, 0, end, epsabs=1e-13, epsrel=1e-12)[0]

    np.testing.assert_allclose(mp.cdf(nu, m, n, 0.02), [integral(x) for x in nu], rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(mp.cdf([-1.0, low * 0.99, high, high * 1.01], m, n, 0.02), [0, 0, 1, 1])


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_quantile_inverts_cdf(m, n):
    quantiles = np.asarray(mp.quantile(P, m, n, 3.0))
    np.testing.assert_allclose(mp.cdf(quantiles, m, n, 3.0), P, atol=2e-12)
    low, high = (float(e) for e in mp.edges(m, n, 3.0))
    np.testing.assert_allclose(quantiles[[0, -1]], [low, high], rtol=1e-14, atol=1e-14)
    assert np.all(np.diff(quantiles) >= 0)


def test_quantile_outside_the_unit_interval_is_nan():
    assert np.isnan(mp.quantile(np.array([-0.1, 1.1]), 4, 3, 1.0)).all()


def test_square_law_is_the_quarter_circle():
    n, sigma = 100, 0.1
    nu = np.array([0.0, 0.5, 1.0, 1.9])
    np.testing.assert_allclose(mp.edges(n, n, sigma), [0, 2 * sigma * 10], atol=1e-15)
    np.testing.assert_allclose(mp.pdf(nu, n, n, sigma), np.sqrt(4 - nu**2) / np.pi, rtol=1e-13)


def test_law_without_noise_is_a_step():
    np.testing.assert_array_equal(mp.cdf(np.array([-1.0, 1e-100, 5.0]), 4, 3, 0.0), [0, 1, 1])


def test_law_under_jit_and_vmap_over_sigma():
    sigma = jnp.array([0.5, 2.0])
    batched = jax.jit(jax.vmap(lambda x: mp.quantile(P, 40, 30, x)))(sigma)
    np.testing.assert_allclose(batched, [mp.quantile(P, 40, 30, 0.5), mp.quantile(P, 40, 30, 2.0)], rtol=1e-13)


def test_gaussian_matrix_follows_the_law():
    s = np.linalg.svd(np.random.default_rng(0).standard_normal((400, 300)), compute_uv=False)
    assert mp.ks_distance(jnp.asarray(s), 400, 300, 1.0, 0, 0) < 0.01
    assert mp.ks_distance(jnp.asarray(s), 400, 300, 1.05, 0, 0) > 0.04


def test_ks_distance_is_the_two_sided_statistic_of_the_bulk():
    s = np.sort(np.random.default_rng(1).uniform(2, 38, 300))[::-1]
    in_bulk = (s < 30) & (s > 5)
    right, left = int(np.sum(s >= 30)), int(np.sum(s <= 5))
    law = (400 - right, 300 - right - left, 1.1)
    expected = scipy.stats.kstest(s[in_bulk], lambda x: np.asarray(mp.cdf(x, *law))).statistic
    distance = mp.ks_distance(jnp.asarray(s), 400, 300, 1.1, right, left)
    np.testing.assert_allclose(distance, expected, rtol=1e-13)
    below = scipy.stats.kstest(s, lambda x: np.asarray(mp.cdf(x, 400, 300, 0.5))).statistic
    np.testing.assert_allclose(mp.ks_distance(jnp.asarray(s), 400, 300, 0.5, 0, 0), below, rtol=1e-13)


def test_strong_spikes_leave_a_bulk_that_still_follows_its_law():
    rng = np.random.default_rng(5)
    w = ensembles.planted(rng.standard_normal((400, 300)), np.full(60, 500.0), rng)
    s = jnp.asarray(np.linalg.svd(w, compute_uv=False))
    assert mp.ks_distance(s, 400, 300, 1.0, 60, 0) < 0.02
    assert mp.ks_distance(s, 400, 300, 1.0, 0, 0) > 0.15


def test_ks_distance_of_an_empty_bulk_is_nan():
    assert np.isnan(mp.ks_distance(jnp.ones(3), 4, 3, 1.0, 1, 2))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        mp.edges(0, 3, 1.0)
