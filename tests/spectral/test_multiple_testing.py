"""Benjamini-Hochberg against SciPy's, and its rate of false discoveries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg

CONVERT = [np.asarray, jnp.asarray]


@pytest.mark.parametrize("convert", CONVERT)
@pytest.mark.parametrize("level", [0.01, 0.05, 0.3])
def test_rejections_are_scipys(convert, level):
    rng = np.random.default_rng(0)
    for k in range(20):
        p = np.where(rng.random(60) < 0.1 * (k % 5), rng.random(60) * 1e-3, rng.random(60))
        expected = stats.false_discovery_control(p) <= level
        np.testing.assert_array_equal(benjamini_hochberg(convert(p), level), expected)


@pytest.mark.parametrize("convert", CONVERT)
def test_nan_is_neither_rejected_nor_counted(convert):
    p = np.array([0.04, np.nan, 0.001, np.nan, np.nan, 0.5])
    found = np.asarray(benjamini_hochberg(convert(p), 0.07))
    assert found.tolist() == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]  # 0.04 <= 0.07 * 2 / 3, not <= 0.07 * 2 / 6
    assert not np.asarray(benjamini_hochberg(convert(np.full(4, np.nan)), 0.05)).any()
    assert np.asarray(benjamini_hochberg(convert(np.zeros(0)), 0.05)).shape == (0,)


def test_a_larger_p_carries_the_smaller_ones():
    p = np.array([0.02, 0.03, 0.04])
    assert benjamini_hochberg(p, 0.04).all()
    assert not benjamini_hochberg(np.array([0.02, 0.03, 0.9]), 0.01).any()


def test_families_lie_on_the_last_axis():
    p = np.random.default_rng(1).random((2, 3, 50)) ** 3
    found = benjamini_hochberg(p, 0.1)
    assert found.any()
    assert not found.all()
    for i in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[i], benjamini_hochberg(p[i], 0.1))
    inside = jax.jit(jax.vmap(benjamini_hochberg, (0, None)))(jnp.asarray(p), 0.1)
    np.testing.assert_array_equal(inside, found)


def test_false_discovery_rate_is_held():
    rng = np.random.default_rng(2)
    p = rng.random((2000, 100))
    p[:, :20] = stats.norm.sf(rng.standard_normal((2000, 20)) + 3)
    found = benjamini_hochberg(p, 0.1)
    false = found[:, 20:].sum(axis=1) / np.maximum(found.sum(axis=1), 1)
    assert 0.07 < false.mean() < 0.09  # level * share of true nulls = 0.08
    assert found[:, :20].mean() > 0.5
