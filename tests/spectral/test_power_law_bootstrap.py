"""Bootstrap of power-law fits: against a slow version, coverage, level and power, keys."""

import jax
import numpy as np
import pytest

from eigensweep.engine.spectral import power_law_bootstrap as bootstrap
from eigensweep.engine.spectral.phases import PL_CUT
from eigensweep.engine.spectral.power_law import fit, fit_ordered

NUM, SIZE, MANY = 39, 96, 150


def descending(x):
    return -np.sort(-x, axis=-1)


@pytest.fixture(scope="module")
def many():
    """(p, low, high) of many spectra, one program."""

    @jax.jit
    def one(inputs):
        key, x = inputs
        return bootstrap.goodness_of_fit(key, x, NUM), *bootstrap.interval(key, x, NUM)

    def of(x, seed=0):
        keys = jax.random.split(jax.random.key(seed), len(x))
        return jax.device_get(jax.lax.map(one, (keys, descending(x)), batch_size=1))

    return of


@pytest.mark.parametrize("alpha", [2.0, 3.5])
def test_power_laws(many, alpha):
    """p is nearly uniform on power laws; the interval covers alpha in 90 to 99 %, nominal 95 %."""
    rng = np.random.default_rng(int(10 * alpha))
    p, low, high = many(rng.pareto(alpha - 1, (MANY, SIZE)) + 1)
    assert np.mean(p <= 0.1) <= 0.1 + 2.6 * (0.09 / MANY) ** 0.5
    assert np.mean(p <= 0.05) <= 0.05 + 2.6 * (0.0475 / MANY) ** 0.5
    assert abs(np.mean(p) - 0.5) < 0.1
    covered = np.mean((low <= alpha) & (alpha <= high))
    assert 0.88 <= covered <= 1.0
    assert (low <= high).all()


def test_half_of_the_values_below_the_tail(many):
    rng = np.random.default_rng(5)
    x = np.where(rng.random((MANY, SIZE)) < 0.5, rng.random((MANY, SIZE)), rng.pareto(2.0, (MANY, SIZE)) + 1)
    p, _, _ = many(x)
    assert np.mean(p <= 0.1) <= 0.1 + 2.6 * (0.09 / MANY) ** 0.5


def test_power():
    """Exponential and log-normal values at N = 384: rejected at 0.1 far above the level."""
    rng = np.random.default_rng(6)
    keys = jax.random.split(jax.random.key(0), 30)
    for draw, least in ((rng.exponential, 0.4), (rng.lognormal, 0.3)):
        x = descending(draw(size=(30, 384)))
        p = np.array([bootstrap.goodness_of_fit(k, row, 19) for k, row in zip(keys, x, strict=True)])
        assert np.mean(p <= 0.1) >= least


def test_distance_without_bootstrap():
    """The 0.9 quantile of sqrt(n) D is PL_CUT, whatever the size and the exponent."""
    rng = np.random.default_rng(7)
    for size, reps in ((64, 1500), (384, 300)):
        for alpha in (2.0, 3.0):
            found = jax.lax.map(fit, rng.pareto(alpha - 1, (reps, size)) + 1, batch_size=8)
            rejected = np.mean(np.sqrt(found.num_spikes) * found.d > PL_CUT)
            assert abs(rejected - 0.1) < 2.6 * (0.09 / reps) ** 0.5


def test_replicas_against_a_slow_version():
    """One replica, drawn and fitted by hand from the same exponentials."""
    x = descending(np.random.default_rng(8).pareto(2.0, SIZE) + np.linspace(0, 1, SIZE))
    x[-6:] = 0  # not there
    size, law = SIZE - 6, fit_ordered(x)
    key = jax.random.key(3)
    e = np.asarray(jax.random.exponential(jax.random.split(key, 1)[0], (SIZE + 1,), np.float64))
    v = np.cumsum(e[:size]) / (e[:size].sum() + e[-1])
    resampled = x[(v * size).astype(int)]
    assert (np.diff(resampled) <= 0).all()
    low, high = bootstrap.interval(key, x, 1)
    expected = fit(np.concatenate([resampled, np.zeros(6)])).alpha
    np.testing.assert_allclose([low, high], [expected, expected], rtol=1e-12)
    n = int(law.num_spikes)
    above = v < n / size
    rank = n + ((v - n / size) / (1 - n / size) * (size - n)).astype(int)
    drawn = np.where(above, law.xmin * (v / (n / size)) ** (-1 / (law.alpha - 1)), x[np.minimum(rank, size - 1)])
    d = fit(np.concatenate([drawn, np.zeros(6)])).d
    assert bootstrap.goodness_of_fit(key, x, 1) == (1 + (d >= law.d)) / 2


def test_same_key_same_numbers(monkeypatch):
    x = descending(np.random.default_rng(9).pareto(1.5, SIZE) + 1)
    key = jax.random.key(1)
    whole = [*bootstrap.interval(key, x, NUM), bootstrap.goodness_of_fit(key, x, NUM)]
    assert whole[:2] != [*bootstrap.interval(jax.random.key(2), x, NUM)]
    monkeypatch.setattr(bootstrap, "AT_ONCE", 1)
    bootstrap.interval.clear_cache()
    bootstrap.goodness_of_fit.clear_cache()
    one_by_one = [*bootstrap.interval(key, x, NUM), bootstrap.goodness_of_fit(key, x, NUM)]
    np.testing.assert_allclose(whole, one_by_one, rtol=1e-12)
    bootstrap.interval.clear_cache()
    bootstrap.goodness_of_fit.clear_cache()


@pytest.mark.parametrize("x", [np.zeros(SIZE), np.r_[np.arange(9, 0, -1.0), np.zeros(SIZE - 9)], np.ones(SIZE)])
def test_no_tail(x):
    key = jax.random.key(0)
    assert np.isnan([*bootstrap.interval(key, x, NUM), bootstrap.goodness_of_fit(key, x, NUM)]).all()
