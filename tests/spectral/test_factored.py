"""Products of thin factors against NumPy's SVD of the formed product."""

import numpy as np
import pytest

from eigensweep.engine.spectral.factored import product_svd, product_values, side_svd


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize(("m", "r", "n"), [(40, 6, 40), (40, 6, 17), (5, 8, 30), (9, 1, 9), (4, 4, 4)])
def test_products_are_those_of_the_formed_matrix(rng, m, r, n):
    left, right = rng.standard_normal((3, m, r)), rng.standard_normal((3, r, n))
    found = product_svd(left, right)
    k = min(m, r, n)
    assert found.u.shape == (3, m, k)
    assert found.vt.shape == (3, k, n)
    for i in range(3):
        w = left[i] @ right[i]
        expected = np.linalg.svd(w, compute_uv=False)[:k]
        np.testing.assert_allclose(found.s[i], expected, rtol=1e-12, atol=1e-13 * expected[0])
        np.testing.assert_allclose((found.u[i] * found.s[i]) @ found.vt[i], w, atol=1e-13 * expected[0])
        np.testing.assert_allclose(found.u[i].T @ found.u[i], np.eye(k), atol=1e-13)
        np.testing.assert_allclose(found.vt[i] @ found.vt[i].T, np.eye(k), atol=1e-13)
        np.testing.assert_allclose(found.left[i], np.linalg.norm(left[i].T @ found.u[i], axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.right[i], np.linalg.norm(right[i] @ found.vt[i].T, axis=0), rtol=1e-12)
    np.testing.assert_allclose(product_values(left, right), found.s, rtol=1e-12, atol=1e-13 * found.s.max())


def test_a_product_of_lower_rank_has_zeros(rng):
    left, right = rng.standard_normal((1, 30, 5)), rng.standard_normal((1, 5, 30))
    right[0, 4] = right[0, 3]
    left[0, :, 4] = -left[0, :, 3]
    found = product_svd(left, right)
    assert found.s[0, 3] < 1e-13 * found.s[0, 0]
    np.testing.assert_allclose((found.u[0] * found.s[0]) @ found.vt[0], left[0] @ right[0], atol=1e-13)


def test_factors_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"expected \(B, m, r\)"):
        product_svd(np.ones((1, 3, 2)), np.ones((1, 3, 3)))


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (12, 12)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_one_side_is_that_of_numpy(rng, shape, side):
    w = rng.standard_normal((2, *shape))
    w[:, :, 0] *= 1e-6  # a small value, which the square of W alone would lose
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    values, vectors = side_svd(w, side)
    np.testing.assert_allclose(values, s, rtol=1e-9)
    agreement = np.abs(np.sum(vectors * (vt if side == "right" else u.swapaxes(1, 2)), axis=2))
    np.testing.assert_allclose(agreement, 1, atol=1e-8)
