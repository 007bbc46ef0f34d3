"""Shares of singular values by number and by sum, and means over seeds, against direct sums and SciPy."""

import numpy as np
import pytest
from scipy import stats

from eigensweep.engine.spectral.smallest import num_smallest, without_smallest
from eigensweep.engine.spectral.student import mean_interval


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.8, 1.0])
def test_the_number_is_the_largest_whose_sum_stays_within_the_share(share):
    s = np.sort(np.random.default_rng(0).exponential(size=23))[::-1]
    assert num_smallest(s, share, "values") == round(23 * share)
    fitting = [k for k in range(24) if s[23 - k :].sum() <= share * s.sum() + 1e-9]
    assert num_smallest(s, share, "mass") == max(fitting)


def test_a_share_that_is_met_exactly_counts():
    assert num_smallest(np.full(10, 0.1), 0.3, "mass") == 3


def test_what_is_left_is_the_best_approximation():
    w = np.random.default_rng(1).standard_normal((7, 5))
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    left = without_smallest(u, s, vt, 2)
    np.testing.assert_allclose(np.linalg.svd(left, compute_uv=False), [*s[:3], 0, 0], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(w - left), np.hypot(s[3], s[4]))
    np.testing.assert_allclose(without_smallest(u, s, vt, 0), w, atol=1e-12)
    assert not without_smallest(u, s, vt, 5).any()


@pytest.mark.parametrize(("share", "by"), [(1.1, "values"), (-0.1, "mass"), (0.5, "energy")])
def test_wrong_shares_are_refused(share, by):
    with pytest.raises(ValueError, match="expected 0 to 1 by values or mass"):
        num_smallest(np.ones(3), share, by)


def test_the_interval_is_students():
    x = [0.3, 0.5, 0.4, 0.9]
    expected = stats.t.interval(0.95, 3, np.mean(x), stats.sem(x))
    np.testing.assert_allclose(mean_interval(x), [np.mean(x), *expected])
    assert np.isnan(mean_interval([1.0])[1:]).all()
    assert np.isnan(mean_interval([])).all()
