"""Small statistics of directions: intervals of shares, ranks, decay of spectra, varimax, co-occurrence."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from eigensweep.engine.spectral.decay import fit_decay
from eigensweep.engine.spectral.npmi import mean_npmi, occurrences
from eigensweep.engine.spectral.proportions import wilson_interval
from eigensweep.engine.spectral.rank_correlation import spearman_of_rows
from eigensweep.engine.spectral.varimax import varimax


def test_wilson_interval_is_scipys():
    for found, count in [(0, 5), (3, 10), (10, 10), (500, 1000)]:
        wanted = scipy.stats.binomtest(found, count).proportion_ci(0.9, method="wilson")
        np.testing.assert_allclose(wilson_interval(found, count, 0.9), (wanted.low, wanted.high), atol=1e-12)
    assert np.isnan(wilson_interval(0, 0)).all()
    with pytest.raises(ValueError, match="more than"):
        wilson_interval(2, 1)


def test_rank_correlation_is_scipys_with_ties():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (5, 40)), rng.integers(0, 6, 40)
    wanted = [scipy.stats.spearmanr(row, y).statistic for row in x]
    np.testing.assert_allclose(spearman_of_rows(x, y), wanted, atol=1e-12)
    assert np.isnan(spearman_of_rows(np.ones((1, 40)), y)).all()


def test_decay_finds_a_known_one_and_is_a_least_squares_line():
    i = np.arange(1, 33)
    exact = fit_decay(5 * np.exp(-i / 7.0))
    assert exact.length == pytest.approx(7)
    assert exact.scale == pytest.approx(5)
    assert exact.r_squared == pytest.approx(1)
    assert exact.deviation < 1e-12
    s = np.sort(np.random.default_rng(1).exponential(size=20))[::-1]
    found, line = fit_decay(s), scipy.stats.linregress(np.arange(1, 21), np.log(s))
    assert found.length == pytest.approx(-1 / line.slope)
    assert found.r_squared == pytest.approx(line.rvalue**2)
    cut = fit_decay(np.concatenate([5 * np.exp(-i / 7.0), np.full(8, 1e-16)]), cut=32)
    assert cut.length == pytest.approx(7)
    assert np.isnan(fit_decay([1.0, 0.0, 0.0]).length)
    assert fit_decay(np.ones(4)).length == np.inf


def criterion(x):
    return (x**2).var(axis=0).sum()


def test_varimax_of_a_plane_is_the_best_angle_and_undoes_a_rotation():
    rng = np.random.default_rng(2)
    x = rng.laplace(size=(60, 2))

    def turn(a):
        return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])

    best = max(criterion(x @ turn(a)) for a in np.linspace(0, np.pi / 2, 2001))
    rotation = varimax(x)
    assert criterion(x @ rotation) == pytest.approx(best, rel=1e-4)
    assert criterion(x @ rotation) >= best * (1 - 1e-12)
    sparse = np.zeros((60, 4))
    sparse[np.arange(60), np.arange(60) % 4] = rng.normal(2, 0.3, 60)
    mixed, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    found = varimax(sparse @ mixed)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-12)
    assert np.linalg.det(found) == pytest.approx(1)
    np.testing.assert_allclose(np.sort(np.abs(mixed @ found).max(axis=0)), 1, atol=1e-6)  # a signed permutation
    np.testing.assert_allclose(varimax(x[:, :1]), [[1]])


def test_npmi_against_loops():
    rng = np.random.default_rng(3)
    text = rng.integers(0, 12, 203)
    seen = occurrences(text, 15, length=10)
    windows = [set(text[i : i + 10]) for i in range(0, 203, 10)]

    def share(*tokens):
        return sum(set(tokens) <= w for w in windows) / len(windows)

    def npmi(a, b):
        p = share(a, b)
        if not p:
            return -1.0
        return 1.0 if p == 1 else np.log(p / (share(a) * share(b))) / -np.log(p)

    ids = np.array([[0, 3, 5, 11], [14, 2, 13, 7], [12, 13, 14, 1]])  # 12 to 14 do not occur
    known = [[t for t in row if share(t)] for row in ids]
    wanted = [
        np.mean([npmi(a, b) for a, b in itertools.combinations(row, 2)]) if len(row) > 1 else np.nan for row in known
    ]
    np.testing.assert_allclose(mean_npmi(seen, ids), wanted)
    always = occurrences(np.tile([0, 1, 2, 3], 20), 4, length=4)
    assert mean_npmi(always, np.array([[0, 1]])) == 1
    with pytest.raises(ValueError, match="from 0 to 3"):
        occurrences(np.array([4]), 4)
