"""Bootstrap of power-law fits: against a slow version, coverage, level and power, keys."""

import jax
import numpy as np
import pytest

from eigensweep.engine.spectral import power_law_bootstrap
from eigensweep.engine.spectral.phases import PL_CUT
from eigensweep.engine.spectral.power_law import fit, fit_ordered
from eigensweep.engine.spectral.power_law_bootstrap import worth

NUM, SIZE, MANY = 39, 96, 150
POWER_HALF_NORMAL = 0.2


def descending(x):
    return -np.sort(-x, axis=-1)


@pytest.fixture(scope="module")
def many():
    """Interval and p of many spectra, one program."""

    @jax.jit
    def all_of(keys, x):
        return jax.lax.map(lambda row: worth(row[0], row[1], fit_ordered(row[1]), NUM), (keys, x))

    return lambda x: jax.device_get(all_of(jax.random.split(jax.random.key(0), len(x)), descending(x)))


@pytest.mark.parametrize("alpha", [2.0, 3.5])
def test_power_laws(many, alpha):
    """p is nearly uniform on power laws; the interval, nominal 95 %, covers less."""
    rng = np.random.default_rng(int(10 * alpha))
    found = many(rng.pareto(alpha - 1, (MANY, SIZE)) + 1)
    assert np.mean(found.p <= 0.1) <= 0.1 + 2.6 * (0.09 / MANY) ** 0.5
    assert np.mean(found.p <= 0.05) <= 0.05 + 2.6 * (0.0475 / MANY) ** 0.5
    assert abs(np.mean(found.p) - 0.5) < 0.1
    assert 0.82 <= np.mean((found.low <= alpha) & (alpha <= found.high)) <= 1.0


def test_half_of_the_values_below_the_tail(many):
    rng = np.random.default_rng(5)
    x = np.where(rng.random((MANY, SIZE)) < 0.5, rng.random((MANY, SIZE)), rng.pareto(2.0, (MANY, SIZE)) + 1)
    assert np.mean(many(x).p <= 0.1) <= 0.1 + 2.6 * (0.09 / MANY) ** 0.5


def test_power(many):
    """A half-normal law falls off so fast that 96 values show it, in part of the samples."""
    p = many(np.abs(np.random.default_rng(6).standard_normal((MANY, SIZE)))).p
    assert np.mean(p <= 0.1) >= POWER_HALF_NORMAL


def test_distance_without_bootstrap():
    """The 0.9 quantile of sqrt(n) D is PL_CUT, whatever the size and the exponent."""
    rng = np.random.default_rng(7)
    fits = jax.jit(lambda x: jax.lax.map(jax.vmap(fit), x))
    for size, reps in ((64, 1000), (192, 400)):
        for alpha in (2.0, 3.0):
            found = fits((rng.pareto(alpha - 1, (reps, size)) + 1).reshape(-1, 8, size))
            rejected = np.mean(np.sqrt(found.num_spikes) * found.d > PL_CUT)
            assert abs(rejected - 0.1) < 2.6 * (0.09 / reps) ** 0.5


def test_replicas_against_a_slow_version():
    """One replica, drawn and fitted by hand from the same exponentials."""
    x = descending(np.random.default_rng(8).pareto(2.0, SIZE) + np.linspace(0, 1, SIZE))
    x[-6:] = 0  # not there
    size, law = SIZE - 6, fit_ordered(x)
    key = jax.random.key(3)
    found = worth(key, x, law, 1)
    keys = jax.random.split(key, 2)
    v = []
    for one in keys:
        e = np.asarray(jax.random.exponential(one, (SIZE + 1,), np.float64))
        v.append(np.cumsum(e[:size]) / (e[:size].sum() + e[-1]))
    resampled = x[(v[0] * size).astype(int)]
    assert (np.diff(resampled) <= 0).all()
    expected = fit_ordered(np.concatenate([resampled, np.zeros(6)])).alpha
    np.testing.assert_allclose(found[:2], [expected, expected], rtol=1e-12)
    n = int(law.num_spikes)
    rank = n + ((v[1] - n / size) / (1 - n / size) * (size - n)).astype(int)
    above = law.xmin * (v[1] / (n / size)) ** (-1 / (law.alpha - 1))
    drawn = np.where(v[1] < n / size, above, x[np.minimum(rank, size - 1)])
    d = fit_ordered(np.concatenate([drawn, np.zeros(6)])).d
    assert found.p == (1 + (d >= law.d)) / 2


@pytest.mark.parametrize("x", [np.zeros(SIZE), np.r_[np.arange(9, 0, -1.0), np.zeros(SIZE - 9)], np.ones(SIZE)])
def test_no_tail(x):
    assert np.isnan(worth(jax.random.key(0), x, fit_ordered(x), NUM)).all()


def test_same_key_same_numbers(monkeypatch):
    x = descending(np.random.default_rng(9).pareto(1.5, SIZE) + 1)
    law = fit_ordered(x)
    whole = worth(jax.random.key(1), x, law, NUM)
    assert worth(jax.random.key(2), x, law, NUM).low != whole.low
    monkeypatch.setattr(power_law_bootstrap, "AT_ONCE", 8 * 32 * SIZE * 5)  # 5 a step, which does not divide 78
    worth.clear_cache()
    np.testing.assert_allclose(whole, worth(jax.random.key(1), x, law, NUM), rtol=1e-12)
    worth.clear_cache()
