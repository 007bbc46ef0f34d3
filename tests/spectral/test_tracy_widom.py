"""F1 against published values: quantiles (Johnstone 2001, table 1, there to two decimals), moments (Bornemann 2010)."""

import numpy as np
import pytest

from eigensweep.engine.spectral import tracy_widom

QUANTILES = {
    0.01: -3.8954, 0.05: -3.1804, 0.10: -2.7824, 0.30: -1.9104, 0.50: -1.2686, 0.70: -0.5923, 0.90: 0.4501,
    0.95: 0.9793, 0.99: 2.0234,
}  # fmt: skip


@pytest.mark.parametrize("p", QUANTILES)
def test_quantiles_are_the_published_ones(p):
    assert tracy_widom.quantile(p) == pytest.approx(QUANTILES[p], abs=6e-5)


def test_mean_and_variance_are_the_published_ones():
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x, dx = 7 * (nodes + 1), 7 * weights  # (0, 14)
    upper, lower = 1 - tracy_widom.cdf(x), tracy_widom.cdf(-x)
    mean = np.sum(dx * (upper - lower))
    variance = 2 * np.sum(dx * x * (upper + lower)) - mean**2
    assert mean == pytest.approx(-1.2065335745820, abs=1e-12)
    assert variance == pytest.approx(1.607781034581, abs=1e-11)


@pytest.mark.parametrize("p", [1e-12, 1e-6, 0.2, 0.9999, 1 - 1e-9])
def test_cdf_inverts_quantile(p):
    assert tracy_widom.cdf(tracy_widom.quantile(p)) == pytest.approx(p, rel=1e-3 if p < 1e-9 else 1e-8)


def test_cdf_is_a_distribution_function():
    f = tracy_widom.cdf(np.array([[-1000, -30, -6], [-1, 0, 2], [6, 30, 1000]]))
    assert f.shape == (3, 3)
    assert f.ravel()[0] == 0
    assert f.ravel()[-1] == 1
    assert np.all(np.diff(f.ravel()) >= 0)


def test_tails_decay_as_known():
    # F1(-x) ~ exp(-x^3/24 + ...), 1 - F1(x) ~ exp(-2/3 x^(3/2))/(4 sqrt(pi) x^(3/4))  (Baik, Buckingham, DiFranco 2008)
    x = 8.0
    upper = np.exp(-2 / 3 * x**1.5) / (4 * np.sqrt(np.pi) * x**0.75)
    assert 1 - tracy_widom.cdf(x) == pytest.approx(upper, rel=0.05)
    constant = 2 ** (-11 / 48) * np.exp(np.log(2) / 24 - 0.1654211437 / 2)  # exp(zeta'(-1)/2), zeta'(-1) = -0.16542...
    lower = constant * x ** (-1 / 16) * np.exp(-(x**3) / 24 - x**1.5 / (3 * np.sqrt(2)))
    assert tracy_widom.cdf(-x) == pytest.approx(lower, rel=0.2)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.5, float("nan")])
def test_quantile_refuses_impossible_probabilities(p):
    with pytest.raises(ValueError, match=r"must lie in"):
        tracy_widom.quantile(p)


def test_survival_is_the_determinant_s_down_to_1e_9():
    x = np.linspace(-8.5, 8.4, 60)
    np.testing.assert_allclose(tracy_widom.survival(x), 1 - tracy_widom.cdf(x), rtol=1e-5)
    assert tracy_widom.survival([9.1, np.inf, -np.inf]).tolist() == [0, 0, 1]
    assert np.isnan(tracy_widom.survival(np.nan))
