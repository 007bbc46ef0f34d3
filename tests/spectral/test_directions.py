"""What is read of a circuit's directions: the tokens at their ends, the groups that noise leaves, random signs."""

import numpy as np
import pytest

from eigensweep.engine.spectral import product_signs, top_scores
from eigensweep.engine.spectral.factored import product_svd, product_values
from eigensweep.engine.spectral.spans import product_noise, spans


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("rows", "k"), [(1000, 7), (12, 20), (300, 300)])
def test_the_ends_are_those_of_a_sort(monkeypatch, rows, k, dtype):
    """Over many slabs; scores that are equal come in the order of their rows."""
    import ml_dtypes

    monkeypatch.setattr(top_scores, "SLAB_BYTES", 40 * 40 * 4)
    rng = np.random.default_rng(3)
    table = rng.integers(-3, 4, (rows, 9)).astype({"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}[dtype])
    x = rng.integers(-3, 4, (40, 9)).astype(np.float64)  # whole numbers: many scores are equal
    found = top_scores.top_scores(table, x, k)
    scores = x @ np.asarray(table, np.float64).T
    k = min(k, rows)
    high = np.sort(scores, axis=1)[:, ::-1][:, :k]
    np.testing.assert_array_equal(found.high_scores, high)
    np.testing.assert_array_equal(found.low_scores, np.sort(scores, axis=1)[:, :k])
    for ids, values in ((found.high, found.high_scores), (found.low, found.low_scores)):
        np.testing.assert_array_equal(np.take_along_axis(scores, ids, axis=1), values)
        assert all(len(set(row)) == k for row in ids.tolist())
        ties = np.diff(values, axis=1) == 0
        assert (np.diff(ids, axis=1)[ties] > 0).all()


def test_the_device_finds_what_the_host_finds(monkeypatch):
    rng = np.random.default_rng(5)
    table, x = rng.standard_normal((500, 16)).astype(np.float32), rng.standard_normal((6, 16))
    expected = top_scores.top_scores(table, x, 9)
    monkeypatch.setattr(top_scores, "SLAB_BYTES", 4 * 16 * 64)
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    found = top_scores.top_scores(table, x, 9)
    np.testing.assert_array_equal(found.high, expected.high)
    np.testing.assert_array_equal(found.low, expected.low)
    np.testing.assert_allclose(found.low_scores, expected.low_scores, rtol=1e-5)


def test_groups_are_runs_of_close_values():
    s = np.array([[9.0, 7.0, 6.9, 6.85, 4.0, 1e-20], [5.0, 4.9, 3.0, 2.9, 2.8, 2.7]])
    found = spans(s, np.full((2, 1), 0.1), np.array([5, 6]))  # sqrt(2) * 0.1 = 0.141
    np.testing.assert_array_equal(found.group, [[1, 2, 2, 2, 5, 6], [1, 1, 3, 3, 3, 3]])
    np.testing.assert_array_equal(found.size, [[1, 3, 3, 3, 1, 1], [2, 2, 4, 4, 4, 4]])
    np.testing.assert_allclose(found.gap[0, :5], [2, 0.1, 0.05, 0.05, 2.85], atol=1e-12)
    assert np.isnan(found.gap[0, 5])
    np.testing.assert_allclose(found.least[0, :5], np.sqrt(2) * 0.1)


def test_noise_of_both_factors_turns_neighbours_by_half_a_radian_at_the_least_gap():
    """First-order angle between neighbours at a gap of sqrt(2) sigma, over redrawn noise: its sd is 1/2."""
    rng = np.random.default_rng(11)
    d, r, sigma = 60, 6, (0.01, 0.02)
    left, right = rng.standard_normal((1, d, r)), rng.standard_normal((1, r, d))
    found = product_svd(left, right)
    noise = product_noise(found.left, found.right, *(np.array([x]) for x in sigma))[0]
    for i in (0, 3):
        u, v = found.u[0][:, [i, i + 1]], found.vt[0][[i, i + 1]]
        mixed = []
        for _ in range(4000):
            n_left, n_right = sigma[0] * rng.standard_normal((d, r)), sigma[1] * rng.standard_normal((r, d))
            moved = u.T @ (n_left @ right[0]) @ v.T + (u.T @ left[0]) @ n_right @ v.T
            mixed.append((moved[0, 1] + moved[1, 0]) / 2)  # s_i = s_j up to the gap
        angle = np.std(mixed) / (np.sqrt(2) * noise[i])
        assert abs(angle - 0.5) < 0.02


@pytest.mark.parametrize(("d", "r"), [(64, 8), (96, 24)])
def test_random_signs_keep_their_level_on_products_of_noise(d, r):
    """160 products whose entries have unequal scales: at level 0.05 in at most 0.12 (binomial, 4 sd)."""
    rng = np.random.default_rng(d)
    shape = (160, d, r)
    scales = np.exp(0.5 * rng.standard_normal((d, 1)))
    left, right = scales * rng.standard_normal(shape), np.swapaxes(rng.laplace(size=shape), 1, 2)
    s = product_values(left, right)
    flips = np.stack([product_values(*(x * rng.choice([-1.0, 1.0], x.shape) for x in (left, right))) for _ in range(7)])
    found = [product_signs.read(s[i], flips[:, i], (d, r), 0.05) for i in range(len(s))]
    assert np.mean([one.num_right > 0 for one in found]) < 0.12
    assert np.mean([one.num_left > 0 for one in found]) < 0.12
    assert 0.3 < np.mean([one.p_right for one in found]) < 0.7


def test_random_signs_find_what_factors_share():
    rng = np.random.default_rng(2)
    d, r = 96, 16
    left, right = rng.standard_normal((1, d, r)), rng.standard_normal((1, r, d))
    left[0, :, 0] *= 4
    left = left @ np.linalg.qr(rng.standard_normal((r, r)))[0]  # a component that no single entry shows
    s = product_values(left, right)
    flips = np.stack([product_values(*(x * rng.choice([-1.0, 1.0], x.shape) for x in (left, right))) for _ in range(7)])
    found = product_signs.read(s[0], flips[:, 0], (d, r), 0.01)
    assert found.num_right == 1
    assert found.p_right < 0.01
    square = product_signs.read(s[0, :8], flips[:, 0, :8], (8, 8), 0.01)
    assert np.isnan(square.num_left)
