"""The equalised reading's null: levels at shapes that are not in the table, the table's file, its maker."""

import jax
import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import edges, noise
from eigensweep.engine.spectral.equalise import equalise, resolvent_scales
from eigensweep.engine.spectral.null import equalised, equalised_fit
from eigensweep.engine.studies import calibration


def assert_rate(count, num, level):
    """The count is one that a true rate between 0.7 and 1.4 times the level could have given (two-sided, 1e-3)."""
    low = scipy.stats.binom.ppf(1e-3, num, 0.7 * level)
    high = scipy.stats.binom.ppf(1 - 1e-3, num, 1.4 * level)
    assert low <= count <= high, f"{count} of {num} at level {level}: outside [{low}, {high}]"


@pytest.fixture(scope="module", params=[(48, 48, 1000), (100, 40, 1000), (24, 22, 2000)], ids=str)
def draws(request):
    """Shapes between those of the table."""
    m, n, num = request.param
    return m, n, equalised_fit.simulate(m, n, num, seed=1)


@pytest.mark.parametrize("level", [0.05, 0.01])
def test_edges_and_t_keep_their_level_between_the_tables_shapes(draws, level):
    m, n, x = draws
    assert_rate(np.sum(x[:, 0] > 2 * np.log(equalised.right_threshold(m, n, level))), len(x), level)
    assert_rate(np.sum(x[:, 1] < 2 * np.log(equalised.left_threshold(m, n, level))), len(x), level)
    assert_rate(np.sum(equalised.gof_p(x[:, 2], m, n) <= level), len(x), level)


def test_plain_edges_would_not(draws):
    m, n, x = draws
    if m == n:
        assert np.mean(x[:, 0] > 2 * np.log(edges.right_threshold(m, n, 0.01))) > 0.03


@pytest.mark.parametrize("kind", ["both:0.25", "laplace"])
def test_profiles_and_tails_keep_the_level(kind):
    found = calibration.fired(kind, 64, 40, 600, 5, 0.01, ["raw", "equalised"])
    assert found["raw"].right > 0.05 * 600
    assert found["equalised"].right <= scipy.stats.binom.ppf(1 - 1e-3, 600, 0.015)
    assert found["equalised"].left <= scipy.stats.binom.ppf(1 - 1e-3, 600, 0.015)


def test_thresholds_are_monotonic_and_the_plain_ones_far_out():
    for threshold, sign in ((equalised.right_threshold, 1), (equalised.left_threshold, -1)):
        for m, n in ((64, 64), (300, 200), (2000, 30), (384, 1536)):
            values = [threshold(m, n, p) for p in (0.5, 0.2, 0.05, 0.02, 0.01, 0.003, 1e-4, 1e-6)]
            assert (sign * np.diff(values) > 0).all(), (m, n, values)
            assert threshold(m, n, 0.01) == threshold(n, m, 0.01)
    small, large = (
        equalised.right_threshold(b, b, 0.01) / edges.right_threshold(b, b, 0.01) - 1 for b in (1024, 100_000)
    )
    assert 0 < large < small / 50


def test_outliers_are_counted_with_these_thresholds():
    b = 64
    s = np.sort(np.random.default_rng(0).uniform(5, 10, b))[::-1].copy()
    s[0] = equalised.right_threshold(b, b, 0.01) * 1.001
    s[-1] = equalised.left_threshold(b, b, 0.01) * 0.999
    assert [int(x) for x in equalised.num_outliers(s, b, b, 1.0, 0.01)] == [1, 1]
    assert [int(x) for x in jax.jit(lambda s: equalised.num_outliers(s, b, b, 1.01, 0.01))(s)] == [0, 1]


def test_gof_p():
    p = equalised.gof_p(np.array([0.1, 2.0, 2.5, 3.0, 20.0, np.nan]), 64, 64)
    assert p[0] > 0.999
    assert (np.diff(p[:4]) < 0).all()
    assert p[4] == equalised.BOUND
    assert np.isnan(p[5])
    assert equalised.gof_p(2.9, np.array([64, 2000]), np.array([64, 2000])).tolist() == [
        float(equalised.gof_p(2.9, k, k)) for k in (64, 2000)
    ]
    assert equalised.gof_p(3.5, 8192, 8192) > 0.05  # T grows with ln K beyond the table


def test_recipe_says_how():
    recipe = equalised.recipe()
    assert recipe["command"].startswith("eigensweep-null --equalised=")
    assert recipe["num_matrices"]["64x64"] >= 4000


def test_maker_gives_the_shipped_numbers_again():
    """The smallest shape, drawn again with the recipe's seed."""
    recipe, table = equalised.recipe(), equalised.load()
    num = recipe["num_matrices"]["8x8"]
    x = equalised_fit.simulate(8, 8, num, recipe["seed"])
    quantiles = equalised_fit._quantiles(x[:, 0], edges.right_threshold, 8, 8)
    expected = quantiles - equalised_fit._plain(edges.right_threshold, 8, 8)
    np.testing.assert_allclose(table.right[0, -1], expected, atol=1e-3)


def test_sigma_of_the_simulation_is_the_bulks():
    x = equalised_fit.simulate(20, 12, 3, 0)
    w = np.random.default_rng([0, 20, 12]).standard_normal((3, 20, 12))
    s = np.linalg.svd(equalise(w, *resolvent_scales(w)), compute_uv=False)
    for i in range(3):
        assert x[i, 0] == pytest.approx(2 * np.log(s[i, 0] / noise.sigma_bulk(s[i], 20, 12)), rel=1e-9)
