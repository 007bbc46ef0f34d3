"""Overlaps and their null: against plain NumPy, Monte Carlo and closed forms; planted directions; permutations."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import covariance, overlap
from eigensweep.engine.spectral.permutation import permutation_p
from eigensweep.engine.spectral.svd import decompose

jax.config.update("jax_enable_x64", True)


def axes_of(x):
    moments = covariance.accumulate(covariance.zero(x.shape[-1]), x)
    return covariance.principal_axes(covariance.covariance(moments)).vectors


def right_vectors(w):
    return np.asarray(decompose(w[None]).vt[0])


@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_overlaps_are_the_largest_cosines(chunk):
    rng = np.random.default_rng(0)
    axes = axes_of(rng.standard_normal((100, 24)) * np.linspace(1, 3, 24))
    vt = right_vectors(rng.standard_normal((40, 24)))
    cosines = np.abs(vt @ axes.T)
    values, partner = overlap.overlaps(vt, axes, chunk)
    np.testing.assert_allclose(values, cosines.max(axis=1), rtol=1e-13)
    np.testing.assert_array_equal(partner, cosines.argmax(axis=1))


def test_planted_direction_is_found():
    """W and the activations share one strong direction: its singular vector meets the first axis, no other does."""
    n, rng = 64, np.random.default_rng(1)
    direction = rng.standard_normal(n)
    direction /= np.linalg.norm(direction)
    w = rng.standard_normal((96, n)) / 10 + 20 * np.outer(rng.standard_normal(96) / 96**0.5, direction)
    x = rng.standard_normal((5000, n)) * np.linspace(1, 2, n)
    x += 30 * rng.standard_normal((5000, 1)) * direction
    values, partner = overlap.overlaps(right_vectors(w), axes_of(x))
    p = overlap.null_tail(values, n)
    assert values[0] > 0.98
    assert partner[0] == 0
    assert p[0] < 1e-40
    assert p[1:].min() > 1e-4


def test_random_matrices_give_the_null():
    """p-values uniform over the vectors of independent matrices, also where the data span a part of the space only."""
    n, rng = 48, np.random.default_rng(2)
    for tokens in (4000, 20):
        axes = axes_of(rng.standard_normal((tokens, n)) * np.geomspace(1, 100, n))
        r = len(axes)
        assert r == min(n, tokens)
        values = [overlap.overlaps(right_vectors(rng.standard_normal((60, n))), axes)[0] for _ in range(40)]
        # Vectors of one matrix are orthogonal, not independent: every sixth is taken.
        p = overlap.null_tail(np.concatenate([v[::6] for v in values]), n, r)
        assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
        np.testing.assert_allclose(np.mean(values), overlap.null_mean(n, r), rtol=0.02)


@pytest.mark.parametrize(("n", "r"), [(6, 6), (16, 16), (16, 4), (64, 64), (300, 300), (300, 40)])
def test_null_against_monte_carlo(n, r):
    draws = 40_000
    g = np.random.default_rng(n + r).standard_normal((draws, n), np.float32)
    largest = np.abs(g[:, :r]).max(axis=1) / np.linalg.norm(g, axis=1)
    t = np.quantile(largest, [0.02, 0.2, 0.5, 0.8, 0.98, 0.998])
    observed = (largest[:, None] > t).mean(axis=0)
    expected = overlap.null_tail(t, n, r)
    np.testing.assert_array_less(np.abs(observed - expected), 4.5 * np.sqrt(expected / draws) + 1e-4)
    assert overlap.null_mean(n, r) == pytest.approx(largest.mean(), rel=4e-3)
    assert overlap.null_quantile(0.8, n, r) == pytest.approx(t[3], rel=1e-2)


@pytest.mark.parametrize("n", [6, 16, 64, 768, 14336])
def test_null_beyond_one_half_is_a_beta_tail(n):
    """Two entries cannot both exceed sqrt(1/2), so there the union bound is exact."""
    t = np.array([0.7072, 0.75, 0.9])
    expected = n * scipy.stats.beta.sf(t**2, 0.5, (n - 1) / 2)
    np.testing.assert_allclose(overlap.null_tail(t, n), expected, rtol=1e-8, atol=1e-290)


def test_null_in_two_dimensions():
    t = np.linspace(0.71, 0.99, 20)
    np.testing.assert_allclose(overlap.null_tail(t, 2), 4 / np.pi * np.arccos(t), atol=2e-4)


def test_null_at_the_ends():
    t = np.array([-0.1, 0.0, 0.24, 1.0, 1.5, np.nan])
    np.testing.assert_array_equal(overlap.null_tail(t, 16), [1, 1, 1, 0, 0, np.nan])
    grid = overlap.null_tail(np.linspace(0, 1, 500), 100)
    assert (np.diff(grid) <= 1e-10).all()
    with pytest.raises(ValueError, match="r = 5"):
        overlap.null_tail(0.5, 4, 5)


def test_permutation_p_is_the_exact_one():
    """All choices enumerated: 2 of 6 in one group times 1 of 4 in the other."""
    a, b = np.array([3.0, 1.0, 2.5, 0.2, 0.1, 2.0]), np.array([1.0, 4.0, 2.0, 3.0])
    chosen = [np.arange(6) % 3 == 0, np.arange(4) == 3]
    observed = a[chosen[0]].sum() + b[chosen[1]].sum()
    sums = [a[list(i)].sum() + b[j] for i in itertools.combinations(range(6), 2) for j in range(4)]
    exact = np.mean(np.array(sums) >= observed - 1e-12)
    assert permutation_p([a, b], chosen, seed=0, num_draws=40_000) == pytest.approx(exact, abs=0.01)
    flipped = permutation_p([-a, -b], chosen, seed=0, num_draws=40_000)
    assert flipped == pytest.approx(np.mean(np.array(sums) <= observed + 1e-12), abs=0.01)


def test_permutation_p_leaves_out_nan_and_groups_without_contrast():
    x = np.array([5.0, np.nan, 1.0, 2.0, 1.5, 0.5])
    mask = np.array([True, True, False, False, False, False])
    alone = permutation_p([x], [mask], seed=3)
    assert alone == pytest.approx(1 / 5, abs=0.03)
    with_more = permutation_p([x, np.arange(4.0)], [mask, np.ones(4, bool)], seed=3)
    assert with_more == alone
    assert np.isnan(permutation_p([np.arange(4.0)], [np.zeros(4, bool)], seed=0))
    with pytest.raises(ValueError, match="one length"):
        permutation_p([np.arange(4.0)], [np.zeros(3, bool)], seed=0)
