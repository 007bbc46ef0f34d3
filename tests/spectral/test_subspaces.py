"""Principal angles against SciPy's, their null against random subspaces drawn in full and closed forms."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from eigensweep.engine.spectral import subspaces


def basis(rng, k, n):
    return np.linalg.qr(rng.standard_normal((n, k)))[0].T


@pytest.mark.parametrize(("k", "l", "n"), [(1, 1, 5), (3, 3, 20), (2, 5, 12), (5, 2, 12), (6, 6, 8)])
def test_angles_are_scipys(k, l, n):
    rng = np.random.default_rng(k + n)
    a, b = basis(rng, k, n), basis(rng, l, n)
    expected = np.sort(scipy.linalg.subspace_angles(a.T, b.T))
    np.testing.assert_allclose(subspaces.principal_angles(a, b), expected, atol=1e-12)


def test_small_angles_keep_their_digits():
    a = np.eye(2, 10)
    angle = 1e-9
    b = a.copy()
    b[0, [0, 5]] = np.cos(angle), np.sin(angle)
    np.testing.assert_allclose(subspaces.principal_angles(a, b), [0, angle], rtol=1e-6, atol=1e-16)


def test_spaces_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match="3 and 4"):
        subspaces.principal_angles(np.eye(1, 3), np.eye(1, 4))


def test_null_has_the_moments_of_random_projections():
    """The trace of P Q has mean k^2/n and variance 2 k^2 (n - k)^2/(n^2 (n - 1)(n + 2))."""
    k, n = 4, 30
    trace = subspaces.null_cosines(k, n).sum(axis=1)
    variance = 2 * k**2 * (n - k) ** 2 / (n**2 * (n - 1) * (n + 2))
    assert trace.mean() == pytest.approx(k * k / n, abs=4 * np.sqrt(variance / trace.size))
    assert trace.var() == pytest.approx(variance, rel=0.06)


def test_null_is_that_of_subspaces_drawn_in_full():
    rng = np.random.default_rng(3)
    full = np.array([np.cos(subspaces.principal_angles(np.eye(3, 12), basis(rng, 3, 12))) ** 2 for _ in range(600)])
    drawn = subspaces.null_cosines(3, 12)
    for column in range(3):
        assert scipy.stats.ks_2samp(full[:, column], drawn[:, column]).pvalue > 0.01


def test_p_of_a_line_is_betas():
    n = 25
    for value in (0.02, 0.1, 0.2):
        exact = scipy.stats.beta.sf(value, 0.5, (n - 1) / 2)
        assert subspaces.overlap_p(value, 1, n) == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))
    assert subspaces.null_quantile(0.99, 1, n) == pytest.approx(scipy.stats.beta.ppf(0.99, 0.5, 12), rel=0.06)
    with pytest.raises(ValueError, match="k = 3 of n = 5"):
        subspaces.null_cosines(3, 5)
