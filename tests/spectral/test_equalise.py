"""The Dyson equalizer: against its authors' package, and matrices whose scales are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from eigensweep.engine.spectral import edges, ensembles, noise
from eigensweep.engine.spectral.equalise import (
    combine,
    dyson_scales,
    equalise,
    profile,
    resolvent_scales,
    without_zeros,
)

SHAPES = [(40, 25), (25, 40), (30, 30)]


def svd(w):
    return np.linalg.svd(w, full_matrices=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_scales_are_those_of_the_authors_package(shape):
    algorithm = pytest.importorskip("dyson_equalizer.algorithm")
    w = ensembles.noise("laplace+both:0.4", np.random.default_rng(0), *shape)
    expected = algorithm.compute_scaling_factors(svd(w))
    np.testing.assert_allclose(dyson_scales(*svd(w))[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(dyson_scales(*svd(w))[1], expected[1], rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_scales_are_the_papers_formula(shape):
    w = ensembles.noise("both:0.4", np.random.default_rng(1), *shape)
    m, n = shape
    u, s, v = np.linalg.svd(w)
    s_rows, s_columns = (np.zeros(side) for side in shape)
    s_rows[: s.size] = s_columns[: s.size] = s
    eta = np.median(s)
    g1, g2 = (u**2) @ (eta / (s_rows**2 + eta**2)), (v.T**2) @ (eta / (s_columns**2 + eta**2))
    x, y = dyson_scales(*svd(w))
    np.testing.assert_allclose(x, (1 / g1 - eta) / np.sqrt(m - eta * g1.sum()), rtol=1e-12)
    np.testing.assert_allclose(y, (1 / g2 - eta) / np.sqrt(n - eta * g2.sum()), rtol=1e-12)
    for ours, other in zip((x, y), resolvent_scales(w), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-12)


def test_a_batch_in_jax_is_the_matrices_one_by_one_in_numpy():
    rng = np.random.default_rng(2)
    w = np.stack([ensembles.noise("rows:0.3", rng, 20, 12) for _ in range(3)])
    x, y = dyson_scales(*(jnp.asarray(part) for part in svd(w)))
    e = equalise(jnp.asarray(w), x, y)
    assert isinstance(x, jnp.ndarray)
    assert isinstance(e, jnp.ndarray)
    for i in range(3):
        alone = dyson_scales(*svd(w[i]))
        np.testing.assert_allclose(np.asarray(x[i]), alone[0], rtol=1e-12)
        np.testing.assert_allclose(np.asarray(e[i]), equalise(w[i], *alone), rtol=1e-12)
        np.testing.assert_allclose([part[i] for part in profile(x, y)], profile(*alone), rtol=1e-12)


def test_equalised_matrix_is_in_the_unit_of_w():
    rng = np.random.default_rng(3)
    w = 0.02 * ensembles.noise("both:0.4", rng, 150, 80)
    x, y = dyson_scales(*svd(w))
    e = equalise(w, x, y)
    scale = np.exp(0.5 * (np.log(x).mean() + np.log(y).mean()))
    np.testing.assert_allclose(e, w / np.sqrt(np.outer(x, y)) * scale, rtol=1e-12)
    assert np.std(w / np.sqrt(np.outer(x, y))) == pytest.approx(1, abs=0.02)
    assert noise.sigma_bulk(svd(e)[1], 150, 80) == pytest.approx(scale, rel=0.02)


def test_rows_and_columns_of_zeros_stay_and_leave_the_others_as_they_are():
    w = ensembles.noise("both:0.3", np.random.default_rng(4), 30, 20)
    padded = np.zeros((34, 23))
    padded[np.ix_(np.arange(1, 31), np.arange(2, 22))] = w
    (x, y), (px, py) = dyson_scales(*svd(w)), dyson_scales(*svd(padded))
    assert ((px == 0).sum(), (py == 0).sum()) == (4, 3)
    np.testing.assert_allclose(px[1:31], x, rtol=1e-10)
    np.testing.assert_allclose(py[2:22], y, rtol=1e-10)
    np.testing.assert_array_equal(without_zeros(padded, px, py), w)
    np.testing.assert_allclose(equalise(padded, px, py)[1:31, 2:22], equalise(w, x, y), rtol=1e-10)
    np.testing.assert_allclose(profile(px, py), profile(x, y), rtol=1e-10)
    rx, ry = resolvent_scales(padded)
    np.testing.assert_allclose(rx, px, rtol=1e-9)
    np.testing.assert_allclose(ry, py, rtol=1e-9)
    zero = dyson_scales(*svd(np.zeros((4, 3))))
    assert not zero[0].any()
    assert not zero[1].any()
    assert np.isnan(dyson_scales(*(np.full_like(part, np.nan) for part in svd(w)))[0]).all()


def test_two_rounds_in_one():
    w = 3 * ensembles.noise("both:0.8", np.random.default_rng(8), 50, 30)
    first = dyson_scales(*svd(w))
    e = equalise(w, *first)
    second = dyson_scales(*svd(e))
    x, y = combine(first, second)
    np.testing.assert_allclose(equalise(w, x, y), equalise(e, *second), rtol=1e-12)
    assert np.std(w / np.sqrt(np.outer(x, y))) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("unit", [1e-160, 1e160])
def test_the_unit_does_not_matter(unit):
    w = ensembles.noise("both:0.3", np.random.default_rng(5), 30, 20)
    u, s, vt = svd(w)
    x, y = dyson_scales(u, s, vt)
    tx, ty = dyson_scales(u, s * unit, vt)
    np.testing.assert_allclose(tx / unit, x, rtol=1e-12)
    np.testing.assert_allclose(equalise(w * unit, tx, ty) / unit, equalise(w, x, y), rtol=1e-12)


@pytest.mark.parametrize("num_spikes", [0, 10])
def test_scales_are_found_beneath_spikes(num_spikes):
    rng = np.random.default_rng(6)
    m, n = 300, 150
    rows, columns = np.exp(0.3 * rng.standard_normal((m, 1))), np.exp(0.2 * rng.standard_normal(n))
    w = rng.standard_normal((m, n)) * rows * columns
    edge = (np.sqrt(m) + np.sqrt(n)) * np.sqrt(np.mean(rows**2) * np.mean(columns**2))
    if num_spikes:
        w = ensembles.planted(w, np.linspace(1.3, 2.6, num_spikes) * edge, rng)
    x, y = dyson_scales(*svd(w))
    assert np.corrcoef(np.log(x), np.log(rows[:, 0]))[0, 1] > 0.95
    assert np.corrcoef(np.log(y), np.log(columns))[0, 1] > 0.93
    # what fitting noise adds, 1/sqrt(2 n) and 1/sqrt(2 m), is small beside it; spikes shrink the profile a little
    found, rtol = np.array(profile(x, y)), 0.12 if num_spikes else 0.05
    np.testing.assert_allclose(found, [np.log(rows).std(), np.log(columns).std()], rtol=rtol)
    s = svd(equalise(w, x, y))[1]
    right, left = edges.num_outliers(s, m, n, noise.sigma_bulk(s, m, n), 1e-4)
    assert (abs(int(right) - num_spikes) <= 1, int(left)) == (True, 0)


def test_profile_of_gaussian_noise_is_that_of_its_row_norms():
    rng = np.random.default_rng(7)
    rows, columns = profile(*resolvent_scales(rng.standard_normal((40, 200, 100))))
    assert rows.mean() * np.sqrt(2 * 100) == pytest.approx(1.05, abs=0.02)
    assert columns.mean() * np.sqrt(2 * 200) == pytest.approx(1.08, abs=0.03)
