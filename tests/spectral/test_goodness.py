"""The test of the Marchenko-Pastur law keeps its level at sizes that its table does not hold, and has power."""

import jax
import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import edges, marchenko_pastur, noise
from eigensweep.engine.spectral.null import goodness, goodness_table


def read(s, a, b):
    """T, K and p of rows of singular values."""

    def one(x):
        return goodness.statistic(x, a, b, noise.sigma_bulk(x, a, b))

    t, count = (np.asarray(x) for x in jax.jit(jax.vmap(one))(s))
    return t, count, goodness.p_value(t, a, b, count)


def assert_fires(p, level, low, high):
    """A rate passes if a true one between low and high times the level could have given it (two-sided, 1e-3)."""
    count, num = int(np.sum(p <= level)), len(p)
    bounds = scipy.stats.binom.ppf(1e-3, num, low * level), scipy.stats.binom.ppf(1 - 1e-3, num, high * level)
    assert bounds[0] <= count <= bounds[1], f"{count} of {num} at level {level}: outside {bounds}"


@pytest.mark.parametrize(
    ("a", "b", "num"), [(10, 10, 4000), (60, 20, 4000), (45, 40, 4000), (400, 90, 2000), (150, 150, 1500)]
)
def test_p_is_uniform_at_sizes_that_the_table_has_not(gaussian_singular_values, a, b, num):
    assert b not in goodness.load().recipe["b"]
    _, _, p = read(gaussian_singular_values([11, a, b], a, b, num), a, b)
    for level in (0.05, 0.01):
        assert_fires(p, level, 0.8, 1.25)
    assert scipy.stats.kstest(p, "uniform").statistic < 0.03 + 1.95 / np.sqrt(num)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_strong_spikes_leave_the_test_at_its_level(share):
    rng = np.random.default_rng(12)
    num, m, n = 1500, 80, 50
    k = int(share * n)
    w = rng.standard_normal((num, m, n))
    u, v = (np.linalg.qr(rng.standard_normal((num, side, k)))[0] for side in (m, n))
    w += (u * rng.uniform(40, 80, (num, 1, k))) @ v.swapaxes(1, 2)
    _, count, p = read(np.linalg.svd(w, compute_uv=False), m, n)
    assert np.mean(count == n - k) > 0.9
    assert_fires(p, 0.05, 0.8, 1.3)
    assert_fires(p, 0.01, 0.7, 1.5)


def test_a_slight_profile_is_seen_in_a_large_matrix():
    rng = np.random.default_rng(13)
    w = rng.standard_normal((10, 384, 384)) * np.exp(0.1 * rng.standard_normal((10, 1, 384)))
    _, _, p = read(np.linalg.svd(w, compute_uv=False), 384, 384)
    assert np.mean(p < 0.01) >= 0.9


def test_the_statistic_is_the_distance_of_what_is_left():
    rng = np.random.default_rng(14)
    w = rng.standard_normal((60, 40))
    w[:, :3] = 0
    w[:, 3] *= 30
    s = np.linalg.svd(w, compute_uv=False)
    sigma = float(noise.sigma_bulk(s, 60, 40))
    t, count = goodness.statistic(s, 60, 40, sigma)
    assert count == 36
    f = np.asarray(marchenko_pastur.cdf(s[1:37][::-1], 59, 36, sigma))
    steps = np.arange(37) / 36
    assert t == pytest.approx(36 * np.max(np.maximum(steps[1:] - f, f - steps[:-1])), rel=1e-12)


def test_p_falls_with_t_to_its_floor_and_is_nan_without_a_test():
    t = np.linspace(0, 8, 200)
    for a, b, count in [(8, 8, 8), (5000, 50, 45), (4096, 4096, 4000), (64, 64, 3)]:
        p = goodness.p_value(t, a, b, np.full(t.size, count))
        assert np.all(np.diff(p) <= 0)
        assert (p[0], p[-1]) == (1, goodness.BOUND)
        assert np.max(np.abs(np.diff(p))) < 0.15
    few = np.ones(3)
    assert np.isnan(goodness.statistic(few, 5, 3, 1.0)[0])
    assert np.isnan(goodness.p_value(np.array([np.nan]), 5, 3, np.array([-1]))).all()


def test_cut_offs_grow_like_the_logarithm_of_the_size():
    i = int(np.flatnonzero(goodness.load().p == 0.05)[0])
    sizes = np.array([64, 256, 1024, 4096])
    cut_offs = np.array([goodness.quantiles(1.0, int(k))[i] for k in sizes])
    np.testing.assert_allclose(cut_offs, 0.79 + 0.43 * np.log(sizes), atol=0.15)


def test_a_table_is_made_from_what_is_simulated(tmp_path, monkeypatch):
    monkeypatch.setattr(goodness_table, "MOST", 2000)
    monkeypatch.setattr(goodness_table, "ENTRIES", 1e12)

    def exponential(seed, a, b, num):
        return np.log(b) + np.random.default_rng([seed, a, b]).exponential(size=num)

    said = goodness_table.write_table(tmp_path / "made.npz", "the command", 5, exponential)
    with np.load(tmp_path / "made.npz") as made:
        assert made["coefficients"].shape == (6, made["p"].size, 4)
        assert '"seed": 5' in str(made["recipe"])
        found = made["coefficients"] @ goodness.basis(100)
    assert "at p = 0.05" in said
    np.testing.assert_allclose(found[:, made_at(0.1)], np.log(100) - np.log(0.1), atol=0.2)


def made_at(level):
    p = [*goodness_table.P, *goodness_table.TAIL]
    return p.index(level)


def test_the_shipped_recipe_is_the_makers():
    recipe = goodness.load().recipe
    assert recipe["command"].startswith("eigensweep-null --goodness=")
    assert recipe["b"] == list(goodness_table.SIZES)
    assert recipe["num_matrices"] == [goodness_table.num_matrices(b) for b in goodness_table.SIZES]
    assert goodness.load().p[-1] == goodness_table.TAIL[-1]


def test_a_few_simulated_matrices_are_those_of_their_seeds():
    t = goodness.simulate(3, 20, 10, 4)
    np.testing.assert_array_equal(goodness.simulate(3, 20, 10, 2), t[:2])
    assert edges.FEWEST <= 10
    assert np.all((t > 0.3) & (t < 4))
