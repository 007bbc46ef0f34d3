"""Distributions along directions: SciPy's kurtosis, mixtures, and cosines by a loop."""

import numpy as np
import pytest
from scipy import stats

from eigensweep.engine.spectral import projections


@pytest.fixture
def x():
    """(500, 6) values of unequal means, widths and shapes; the last dimension is constant."""
    rng = np.random.default_rng(0)
    columns = [
        rng.standard_normal(500),
        rng.laplace(size=500),
        rng.uniform(size=500),
        5 * rng.standard_t(5, 500) + 3,
        1e-3 * rng.standard_normal(500),
        np.full(500, 2.0),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def test_kurtosis_is_scipys(x, monkeypatch):
    expected = stats.kurtosis(x[:, :5].astype(float), axis=0)
    np.testing.assert_allclose(projections.excess_kurtosis(x, axis=0)[:5], expected, rtol=1e-9)
    assert np.isnan(projections.excess_kurtosis(x, axis=0)[5])
    assert projections.excess_kurtosis(x) == pytest.approx(stats.kurtosis(x.astype(float), axis=None))
    directions = projections.random_directions(7, 6, 1)
    monkeypatch.setattr(projections, "_CHUNK", 1000)  # two directions at a time
    found = projections.kurtosis_along(x, directions)
    np.testing.assert_allclose(found, stats.kurtosis(x.astype(float) @ directions.T, axis=0), rtol=1e-9)


def test_pooling_gaussians_of_unequal_width_is_not_gaussian():
    """Scales from 1 to 10: pooled kurtosis 3 (mean s^4 / mean^2 s^2 - 1); along every direction it is 0."""
    rng = np.random.default_rng(1)
    scales = np.linspace(1, 10, 50)
    x = rng.standard_normal((20000, 50)) * scales
    pooled = 3 * (np.mean(scales**4) / np.mean(scales**2) ** 2 - 1)
    assert projections.excess_kurtosis(x) == pytest.approx(pooled, abs=0.1)
    assert projections.excess_kurtosis(projections.standardised(x)) == pytest.approx(0, abs=0.02)
    along = projections.kurtosis_along(x, np.concatenate([np.eye(50), projections.random_directions(50, 50, 0)]))
    error = projections.standard_error(20000)
    assert np.abs(along).max() < 4 * error
    assert along.std() == pytest.approx(error, rel=0.3)


def test_constant_dimensions_are_left_out(x):
    z = projections.standardised(x)
    assert z.shape == (500, 5)
    np.testing.assert_allclose((z.mean(axis=0), z.std(axis=0)), np.outer([0, 1], np.ones(5)), atol=1e-9)


def test_cosines_are_those_of_a_loop(x):
    states = np.stack([x, x[::-1], np.where(np.arange(500)[:, None] % 2, x, 0)])
    for centred in (False, True):
        used = states.astype(float) - (states.astype(float).mean(axis=1, keepdims=True) if centred else 0)
        expected = np.zeros((3, 3))
        for i, a in enumerate(used):
            for j, b in enumerate(used):
                lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
                expected[i, j] = np.mean([p @ q / r if r else 0.0 for p, q, r in zip(a, b, lengths, strict=True)])
        np.testing.assert_allclose(projections.cosines(states, centred), expected, rtol=1e-9)
