"""Rank correlations against SciPy and by counting pairs; intervals by their coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from eigensweep.engine.spectral.rank_correlation import kendall, spearman


@pytest.mark.parametrize("num", [5, 30])
def test_coefficients_with_ties_are_scipys(num):
    rng = np.random.default_rng(num)
    x, y = rng.integers(0, 6, num).astype(float), rng.standard_normal(num).round(1)
    rho, tau = spearman(x, y), kendall(x, y)
    assert rho.value == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    assert tau.value == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)
    assert rho.num == tau.num == num
    for found in (rho, tau):
        assert -1 <= found.low <= found.value <= found.high <= 1
        assert 0 < found.p <= 1


def test_p_values_of_few_values_are_over_all_orders():
    assert spearman(np.arange(5), np.arange(5)).p == pytest.approx(2 / 120)
    assert kendall(np.arange(6), -np.arange(6)).p == pytest.approx(2 / 720)
    x, y = np.array([1, 2, 3, 4, 5, 6.0]), np.array([2, 1, 4, 3, 6, 5.0])
    assert kendall(x, y).p == pytest.approx(stats.kendalltau(x, y, method="exact")[1], abs=1e-12)


def test_unknown_values_are_left_out_and_too_few_give_nothing():
    x, y = np.array([1, 2, 3, 4, np.nan, 6]), np.array([1, 3, 2, 5, 9, np.inf])
    assert spearman(x, y).num == 4
    assert spearman(x, y).value == pytest.approx(0.8)
    assert math.isnan(spearman(x[:4], y[:4] * 0).value)
    assert math.isnan(kendall(x[:3], y[:3]).value)
    with pytest.raises(ValueError, match="one length"):
        kendall(x, y[:3])


def test_the_interval_covers():
    """Bivariate normal, correlation 0.5, 12 values: rho = 6/pi asin(0.25), in 95 % of the samples (100: sd 2.2 %)."""
    rng, truth = np.random.default_rng(1), 6 / np.pi * np.arcsin(0.25)
    covered = 0
    for seed in range(100):
        x = rng.standard_normal(12)
        found = spearman(x, 0.5 * x + math.sqrt(0.75) * rng.standard_normal(12), seed)
        covered += found.low <= truth <= found.high
    assert 88 <= covered <= 100
