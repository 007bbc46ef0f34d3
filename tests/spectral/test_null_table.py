"""The table that comes with eigensweep: against fresh draws at other sizes, its bound; and how one is fitted."""

import jax
import numpy as np
import pytest

from eigensweep.engine.spectral.null import fit, histogram, sampling
from eigensweep.engine.spectral.null import table as null_table


@pytest.mark.parametrize(("n", "num_draws"), [(28, 400_000), (300, 100_000), (1500, 20_000)])
def test_fresh_draws_at_sizes_between(n, num_draws):
    """The share of draws with p <= level is the level, within four standard errors of it and the table's own error."""
    d = sampling.sample_null(jax.random.key(1234), n, num_draws)
    p = null_table.p_value_table(d, n)
    for level, tolerance in ((0.9, 0.02), (0.5, 0.02), (0.1, 0.02), (0.01, 0.02), (1e-3, 0.05)):
        rate = np.mean(p <= level)
        counting = 4 * np.sqrt((1 - level) / (level * num_draws))
        assert abs(rate / level - 1) < tolerance + counting, (level, rate)


def test_known_quantiles():
    """sqrt(n) D at 0.5, 0.9, 0.99, 0.999 from 10^5 to 4 10^5 independent draws."""
    known = {64: (0.770, 1.171, 1.581, 1.898), 1024: (0.784, 1.185, 1.598, 1.926)}
    for n, quantiles in known.items():
        p = null_table.p_value_table(np.array(quantiles) / np.sqrt(n), n)
        np.testing.assert_allclose(p, [0.5, 0.1, 0.01, 0.001], rtol=0.09)
        np.testing.assert_allclose(p[:2], [0.5, 0.1], rtol=0.01)


@pytest.mark.parametrize("n", [16, 17, 50, 4096, 10_000, 65_536, 200_000])
def test_p_falls_from_one_to_the_bound(n):
    p = null_table.p_value_table(np.linspace(0, 3.9, 4000) / np.sqrt(n), n)
    assert p[0] == 1
    assert p[-1] == null_table.BOUND
    assert np.all(np.diff(p) <= 0)
    assert np.all(np.diff(p)[(p[1:] > null_table.BOUND) & (p[:-1] < 0.999)] < 0)


def test_table_is_what_its_recipe_says():
    table, recipe = null_table.load(), null_table.recipe()
    assert table.n.tolist() == recipe["n"]
    assert (table.n[0], table.n[-1]) == (16, 65_536)
    assert null_table.smallest_n() == 16
    assert min(recipe["num_draws"]) >= 1_000_000
    assert recipe["command"].startswith("eigensweep-null --n=16,")
    assert table.log_p.shape == (table.n.size, table.t.size)
    np.testing.assert_allclose(np.diff(table.t), fit.STEP)
    assert np.all(table.log_p[:, -1] < np.log(null_table.BOUND))
    for k, n in enumerate(table.n):
        np.testing.assert_allclose(null_table.log_p_row(int(n)), table.log_p[k])


def test_shapes_nan_and_infinity():
    d = np.random.default_rng(0).random((3, 50)) / 8
    rows = [null_table.p_value_table(row, 384) for row in d]
    np.testing.assert_array_equal(null_table.p_value_table(d, 384), rows)
    assert null_table.p_value_table(0.05, 384).shape == ()
    p = null_table.p_value_table(np.array([np.nan, np.inf, -1.0, 1.0]), 100)
    assert np.isnan(p[0])
    assert p[1:].tolist() == [null_table.BOUND, 1.0, null_table.BOUND]


def test_below_the_table():
    with pytest.raises(ValueError, match="n = 15: the table begins at 16"):
        null_table.p_value_table(np.array([0.1]), 15)


def test_fit_of_a_known_tail(tmp_path):
    """Draws with ln P(t) = -2 t^2 - t / sqrt(n): the fitted table has it beyond where draws are many."""
    rng = np.random.default_rng(0)

    def exact(t, n):
        return -2 * t**2 - t / np.sqrt(n)

    nulls = []
    for n in (16, 64, 400, 3000):
        e = rng.standard_exponential(2_000_000)
        b = 1 / np.sqrt(n)
        t = (np.sqrt(b * b + 8 * e) - b) / 4  # -ln P(t) = e
        nulls.append(histogram.add(histogram.empty(n, 0), (t / np.sqrt(n)).astype(np.float32)))
    message = fit.write_table(nulls, tmp_path / "table.npz", "a command")
    assert message.startswith("tail fit: chi2 = ")
    with np.load(tmp_path / "table.npz") as data:
        t, log_p, n = data["t"], data["log_p"], data["n"]
        for row, size in zip(log_p, n, strict=True):
            expected = exact(t, size)
            for p, tolerance in ((0.1, 0.02), (0.01, 0.03), (1e-3, 0.06), (1e-4, 0.15), (1e-5, 0.5)):
                k = np.argmin(np.abs(expected - np.log(p)))
                assert row[k] == pytest.approx(expected[k], abs=tolerance), (size, p)


def test_goodness_of_fit_notices_a_bad_curve():
    """A survival function with a step in its tail is no smooth curve: the chi-square says so."""
    rng = np.random.default_rng(1)
    grid = np.arange(fit.T_FIRST, fit.T_LAST, fit.STEP)
    tail = grid[grid >= fit.T_FIT]
    nulls = []
    for n in (16, 64, 400):
        t = np.sqrt(rng.standard_exponential(300_000) / 2)
        t = np.where((t > 1.7) & (rng.random(t.size) < 0.4), t + 0.2, t)
        nulls.append(histogram.add(histogram.empty(n, 0), (t / np.sqrt(n)).astype(np.float32)))
    _, chi2, cells = fit.fit_tail(nulls, tail)
    assert chi2 > 2 * cells
