"""Edge thresholds against the formulas they stand for; whether they keep their level is test_edge_calibration's."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import edges, hard_edge, tracy_widom

LEVELS = [0.05, 0.01]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("m", "n"), [(400, 300), (384, 1536), (768, 768)])
def test_right_threshold_is_johnstones_within_the_accuracy_of_the_limit(m, n, level):
    a, b = max(m, n), min(m, n)
    root = np.sqrt(a - 1) + np.sqrt(b)
    scale = root * (1 / np.sqrt(a - 1) + 1 / np.sqrt(b)) ** (1 / 3)
    johnstone = root**2 + tracy_widom.quantile(1 - level) * scale
    assert edges.right_threshold(m, n, level) ** 2 == pytest.approx(johnstone, abs=0.05 * scale)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("m", "n"), [(400, 300), (384, 1536), (8, 1000)])
def test_left_threshold_of_a_rectangle_is_mas(m, n, level):
    a, b = max(m, n) - 0.5, min(m, n) - 0.5
    root = np.sqrt(a) - np.sqrt(b)
    scale = root * (1 / np.sqrt(b) - 1 / np.sqrt(a)) ** (1 / 3)
    expected = np.log(root**2) - tracy_widom.quantile(1 - level) * scale / root**2
    assert np.log(edges.left_threshold(m, n, level) ** 2) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_left_threshold_of_a_square_is_edelmans(level):
    x = 384 * edges.left_threshold(384, 384, level) ** 2
    assert np.exp(-(x / 2 + np.sqrt(x))) == pytest.approx(1 - level, abs=1e-14)


@pytest.mark.parametrize("level", LEVELS)
def test_left_threshold_with_one_more_row_is_exponential(level):
    # b s_min^2 of a (b + 1) x b real Gaussian matrix is chi-square with 2 degrees of freedom at any b (Edelman 1988)
    b = 50
    assert b * edges.left_threshold(b, b + 1, level) ** 2 == pytest.approx(scipy.stats.chi2.ppf(level, 2), rel=1e-9)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (1, 1)])
def test_thresholds_of_one_row_are_chi_square(shape, level):
    a = max(shape)
    assert edges.right_threshold(*shape, level) ** 2 == pytest.approx(scipy.stats.chi2.isf(level, a), rel=1e-10)
    assert edges.left_threshold(*shape, level) ** 2 == pytest.approx(scipy.stats.chi2.ppf(level, a), rel=1e-10)


def test_thresholds_do_not_care_for_orientation_and_widen_with_the_level():
    for a, b in [(500, 300), (500, 490), (64, 64), (90, 1)]:
        right = [edges.right_threshold(a, b, p) for p in (0.1, 0.05, 0.01, 1e-4)]
        left = [edges.left_threshold(a, b, p) for p in (0.1, 0.05, 0.01, 1e-4)]
        assert np.all(np.diff(right) > 0)
        assert np.all(np.diff(left) < 0)
        assert right == [edges.right_threshold(b, a, p) for p in (0.1, 0.05, 0.01, 1e-4)]
        assert left == [edges.left_threshold(b, a, p) for p in (0.1, 0.05, 0.01, 1e-4)]


@pytest.mark.parametrize("b", [32, 128, 256])
def test_hard_and_soft_left_edges_meet(b):
    around = [edges.left_threshold(b + b // 4 + i, b, 0.01) for i in (-1, 0, 1, 2)]  # hard, hard, soft, soft
    steps = np.diff(around)
    assert steps[1] == pytest.approx((steps[0] + steps[2]) / 2, abs=0.02 * around[1])


def test_hard_edge_law_of_the_square_is_the_determinant():
    for x in (1e-4, 0.1, 1.0, 5.0):
        assert hard_edge.determinant(x, 0) == pytest.approx(hard_edge.survival(x, 0), abs=1e-13)


@pytest.mark.parametrize("d", [0, 1, 5, 64])
def test_hard_edge_quantile_inverts_the_law(d):
    for p in (1e-6, 0.01, 0.5):
        assert 1 - hard_edge.survival(hard_edge.quantile(p, d), d) == pytest.approx(p, rel=1e-7)


@pytest.mark.parametrize("level", [0.0, 0.6, 1.0, float("nan")])
def test_impossible_levels_are_refused(level):
    for threshold in (edges.right_threshold, edges.left_threshold):
        with pytest.raises(ValueError, match="level must lie in"):
            threshold(20, 10, level)


def test_empty_matrices_are_refused():
    with pytest.raises(ValueError, match=r"\(0, 10\)"):
        edges.right_threshold(0, 10, 0.01)


def test_num_outliers_counts_both_sides_with_traced_sigma():
    right, left = edges.right_threshold(40, 30, 0.01), edges.left_threshold(40, 30, 0.01)
    s = jnp.array([50.0, 1.001 * right, 0.999 * right] + [7.0] * 23 + [1.001 * left, 0.999 * left, 1e-9, 0.0])

    @jax.jit
    @chex.assert_max_traces(n=1)
    def count(s, sigma, eps):
        return jax.vmap(lambda s, sigma: edges.num_outliers(s, 40, 30, sigma, 0.01, eps))(s, sigma)

    for eps in (2e-16, 1e-7):  # traced, too
        num_right, num_left = count(jnp.stack([s, 0.1 * s]), jnp.array([1.0, 0.1]), eps)
        assert num_right.dtype == num_left.dtype == jnp.int32
        np.testing.assert_array_equal(num_right, [2, 2])
        np.testing.assert_array_equal(num_left, [3, 3])


def test_values_that_are_not_the_matrix_s_are_refused():
    with pytest.raises(AssertionError, match=r"of a 5 x 4 matrix"):
        edges.num_outliers(jnp.ones(3), 5, 4, 1.0)


@pytest.mark.parametrize("b", [1, 4, 7])
def test_few_values_have_no_edge_test(b):
    assert [int(x) for x in edges.num_outliers(jnp.arange(b, 0.0, -1), 9, b, 1.0, 0.01)] == [-1, -1]
    assert [int(x) for x in edges.num_outliers(jnp.full(8, 3.0), 9, 8, 1.0, 0.01)] == [0, 0]


def test_undefined_sigma_has_no_edge_test():
    assert [int(x) for x in edges.num_outliers(jnp.arange(9.0), 12, 9, jnp.nan, 0.01)] == [-1, -1]


@pytest.mark.parametrize("rank", [0, 1, 8, 29])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_low_rank_product_has_no_edge_test(rank, dtype):
    rng = np.random.default_rng(rank)
    w = rng.standard_normal((100, rank)).astype(dtype) @ rng.standard_normal((rank, 60)).astype(dtype)
    s = jnp.asarray(np.linalg.svd(w.astype(np.float64), compute_uv=False))
    counts = edges.num_outliers(s, 100, 60, s[rank:].mean() / np.sqrt(100), 0.01, eps=float(np.finfo(dtype).eps))
    assert [int(x) for x in counts] == [-1, -1]


def test_zeros_of_a_matrix_with_a_bulk_are_left_outliers():
    rng = np.random.default_rng(1)
    w = np.concatenate([rng.standard_normal((100, 30)), np.zeros((100, 30))], axis=1)
    counts = edges.num_outliers(jnp.asarray(np.linalg.svd(w, compute_uv=False)), 100, 60, 1.0, 0.01)
    assert [int(x) for x in counts] == [0, 30]


def test_thresholds_may_be_anothers():
    def eight(m, n, level):
        return 8.0

    s = jnp.arange(12.0, 0, -1)
    counts = edges.num_outliers(s, 12, 12, 1.0, 0.01, thresholds=(eight, eight))
    assert [int(x) for x in counts] == [4, 7]


@pytest.mark.parametrize("shape", [(8, 8), (64, 64), (70, 64), (96, 384), (2000, 16)])
def test_p_values_of_the_extremes_invert_the_thresholds(shape):
    b, sigma = min(shape), 0.3
    for level in (0.3, 0.05, 0.01, 1e-4, 1e-8):
        right, left = edges.right_threshold(*shape, level), edges.left_threshold(*shape, level)
        s = np.full((2, b), (right + left) / 2)
        s[:, 0], s[:, -1] = [right * (1 - 1e-5), right * (1 + 1e-5)], [left * (1 + 1e-5), left * (1 - 1e-5)]
        p = edges.extreme_p_values(sigma * s, *shape, np.full(2, sigma))
        for found in p:
            np.testing.assert_allclose(found, level, rtol=0.03)
            assert (found <= level).tolist() == [False, True]
        counts = [edges.num_outliers(sigma * x, *shape, sigma, level) for x in s]
        assert [[int(x) for x in pair] for pair in counts] == [[0, 0], [1, 1]]


def test_p_values_of_the_extremes_of_noise_are_uniform(gaussian_singular_values):
    for a, b, num in ((64, 64, 2000), (70, 64, 300), (200, 40, 2000)):
        s = gaussian_singular_values([9, a, b], a, b, num)
        for p in edges.extreme_p_values(s, a, b, np.ones(num)):
            assert (
                np.abs(np.sort(p) - np.linspace(0, 1, num)).max() < 0.02 + 1.36 / num**0.5
            )  # the limits' laws, chance


def test_where_there_is_no_p_value_of_an_extreme():
    s = np.tile(np.linspace(9, 1, 8), (4, 1))
    s[3] = [1e9, *np.full(6, 1.0), 0]
    sigma = np.array([np.nan, 0.0, 1.0, 1e-7])
    largest, smallest = edges.extreme_p_values(s, 20, 8, sigma, eps=1e-7)
    assert np.isnan(largest).tolist() == [True, True, False, True]
    assert np.isnan(smallest).tolist() == [True, True, False, True]
    assert edges.extreme_p_values(np.r_[s[2, :-1], 0.0][None], 20, 8, np.ones(1))[1][0] == edges.LEAST_P
    assert np.isnan(edges.extreme_p_values(s[:, :7], 20, 7, np.ones(4))).all()
