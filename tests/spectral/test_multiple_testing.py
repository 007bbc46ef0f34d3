"""Benjamini-Hochberg against its definition, and its rate of false discoveries."""

import numpy as np
import pytest
from scipy import stats

from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg


def slow_rejections(p, level):
    """Rank by rank: the largest k with p_(k) <= level k / N, NaN set aside."""
    known = np.sort(p[~np.isnan(p)])
    threshold = -1.0
    for k, value in enumerate(known, 1):
        if value <= level * k / known.size:
            threshold = value
    return p <= threshold


@pytest.mark.parametrize("level", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.97])
def test_rejections_are_those_of_the_definition(level, missing):
    rng = np.random.default_rng(0)
    for k in range(40):
        p = np.where(rng.random(60) < 0.1 * (k % 5), rng.random(60) * 1e-3, rng.random(60))
        p = np.round(p, 3) if k % 2 else p  # equal ones
        p[rng.random(60) < missing] = np.nan
        np.testing.assert_array_equal(benjamini_hochberg(p, level), slow_rejections(p, level))


def test_nan_is_neither_rejected_nor_counted():
    p = np.array([0.04, np.nan, 0.001, np.nan, np.nan, 0.5])
    # 0.04 <= 0.07 * 2 / 3, not <= 0.07 * 2 / 6
    assert benjamini_hochberg(p, 0.07).tolist() == [True, False, True, False, False, False]
    assert not benjamini_hochberg(np.full(4, np.nan), 0.05).any()
    assert benjamini_hochberg(np.zeros(0), 0.05).shape == (0,)
    assert benjamini_hochberg(np.zeros((3, 0)), 0.05).shape == (3, 0)
    assert benjamini_hochberg(np.zeros((0, 3)), 0.05).shape == (0, 3)


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_hochberg(np.array([0.1, 1.5]), 0.05)


def test_a_larger_p_carries_the_smaller_ones():
    p = np.array([0.02, 0.03, 0.04])
    assert benjamini_hochberg(p, 0.04).all()
    assert not benjamini_hochberg(np.array([0.02, 0.03, 0.9]), 0.01).any()


def test_families_lie_on_the_last_axis():
    p = np.random.default_rng(1).random((2, 3, 50)) ** 3
    p[0, 1, ::2] = np.nan
    found = benjamini_hochberg(p, 0.1)
    assert found.any()
    assert not found.all()
    for i in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[i], benjamini_hochberg(p[i], 0.1))


def test_false_discovery_rate_is_held():
    rng = np.random.default_rng(2)
    p = rng.random((2000, 100))
    p[:, :20] = stats.norm.sf(rng.standard_normal((2000, 20)) + 3)
    found = benjamini_hochberg(p, 0.1)
    false = found[:, 20:].sum(axis=1) / np.maximum(found.sum(axis=1), 1)
    assert 0.07 < false.mean() < 0.09  # level * share of true nulls = 0.08
    assert found[:, :20].mean() > 0.5
