"""The paired bootstrap against a slow one, its coverage, what it refuses."""

import numpy as np
import pytest

from eigensweep.engine.spectral import bootstrap
from eigensweep.engine.spectral.bootstrap import paired_interval


def test_against_resampled_rows():
    rng = np.random.default_rng(0)
    difference, weight = rng.standard_normal(80) + 0.3, rng.integers(1, 9, 80).astype(float)
    drawn = rng.integers(0, 80, (20_000, 80))
    means = np.sum(weight[drawn] * difference[drawn], axis=1) / np.sum(weight[drawn], axis=1)
    change, low, high = paired_interval(difference, weight, seed=1, num_resamples=20_000, confidence=0.9)
    assert change == pytest.approx(np.average(difference, weights=weight), rel=1e-12)
    # the quantiles' own standard error is 0.015 of the spread
    assert [low, high] == pytest.approx(np.quantile(means, [0.05, 0.95]), abs=0.08 * means.std())


def test_the_interval_covers_the_mean():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(400):
        difference = rng.standard_normal(60) + 1.0
        _, low, high = paired_interval(difference, np.ones(60), seed, num_resamples=400, confidence=0.9)
        covered += low <= 1.0 <= high
    assert 0.84 < covered / 400 < 0.94  # 0.9 less what 60 rows cost, four standard errors of 0.015


def test_the_seed_alone_decides(monkeypatch):
    difference, weight = np.random.default_rng(3).standard_normal((2, 50)) ** 2
    found = paired_interval(difference, weight, seed=5)
    assert found != paired_interval(difference, weight, seed=6)
    monkeypatch.setattr(bootstrap, "_CHUNK", 500)
    assert found == pytest.approx(paired_interval(difference, weight, seed=5), rel=1e-12)


def test_samples_without_weight_repeat_the_mean():
    change, low, high = paired_interval(np.array([2.0, 5.0, 7.0]), np.array([1.0, 0.0, 0.0]), seed=0)
    assert (change, low, high) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("difference", "weight", "message"),
    [
        (np.zeros(3), np.ones(4), r"got shapes \(3,\) and \(4,\)"),
        (np.zeros((2, 2)), np.ones((2, 2)), "two vectors of one length"),
        (np.zeros(3), np.zeros(3), "at least one above"),
        (np.zeros(3), np.array([1.0, -1.0, 2.0]), "none below 0"),
    ],
)
def test_misuse(difference, weight, message):
    with pytest.raises(ValueError, match=message):
        paired_interval(difference, weight, seed=0)
