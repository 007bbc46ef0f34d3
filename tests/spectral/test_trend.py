"""Trends over depth: an exact line, the level of the interval, what has no trend."""

import numpy as np
import pytest

from eigensweep.engine.spectral.trend import log_trend


def test_an_exact_exponential_is_its_slope():
    depth = np.arange(4, 12)
    found = log_trend(depth, 3 * np.exp(0.7 * (depth - 4) / 7))
    assert found == pytest.approx((0.7, 0.7, 0.7))
    assert found.word == "grows"
    assert log_trend(depth, np.exp(-depth.astype(float))).word == "falls"


def test_blocks_without_a_trend_seldom_have_one():
    """Level 0.05 over 400 stacks of 6 blocks: 20 +- 4.4."""
    rng = np.random.default_rng(0)
    words = [log_trend(np.arange(6), np.exp(0.2 * rng.standard_normal(6))).word for _ in range(400)]
    assert 7 <= sum(map(bool, words)) <= 33


def test_blocks_that_are_left_out_keep_their_places():
    depth = np.arange(8)
    values = np.exp(0.5 * depth / 7)
    values[2] = np.nan
    assert log_trend(depth, values).slope == pytest.approx(0.5)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 2.0, 0.0], [np.nan] * 4, []])
def test_below_three_blocks_there_is_none(values):
    found = log_trend(np.arange(len(values)), values)
    assert np.isnan(found.slope)
    assert found.word == ""
