"""The noise level of Gaussian matrices, with and without signal planted in them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigensweep.engine.spectral import edges, noise


def bulk(w):
    return float(noise.sigma_bulk(jnp.asarray(np.linalg.svd(w, compute_uv=False)), *w.shape))


def outliers(w, level=0.01):
    s = jnp.asarray(np.linalg.svd(w, compute_uv=False))
    return tuple(int(x) for x in edges.num_outliers(s, *w.shape, noise.sigma_bulk(s, *w.shape), level))


def spikes(rng, m, n, observed):
    """A rank-k matrix that lifts k singular values of unit noise to about `observed` * sqrt(lambda_plus)."""
    s2 = (np.asarray(observed) * (np.sqrt(m) + np.sqrt(n))) ** 2
    c = s2 - m - n  # from s^2 = (t^2 + m)(t^2 + n)/t^2 (Benaych-Georges and Nadakuditi 2012)
    t = np.sqrt((c + np.sqrt(c**2 - 4 * m * n)) / 2)
    u, v = (np.linalg.qr(rng.standard_normal((size, len(t))))[0] for size in (m, n))
    return (u * t) @ v.T


def fast_singular_values(w):
    return jnp.sqrt(jnp.maximum(jnp.asarray(np.linalg.eigvalsh(w.T @ w)[::-1]), 0))


def test_sigma_init_is_a_fan_or_a_number():
    assert noise.sigma_init(384, 96) == noise.sigma_init(384, 96, "fan_out") == pytest.approx(384**-0.5, rel=1e-15)
    assert noise.sigma_init(384, 96, "fan_in") == pytest.approx(96**-0.5, rel=1e-15)
    assert noise.sigma_init(384, 96, "0.02") == 0.02


@pytest.mark.parametrize(("a", "b", "num"), [(64, 64, 4000), (172, 64, 4000), (384, 384, 200), (1000, 16, 4000)])
def test_sigma_bulk_of_noise_is_unbiased_and_sharp(gaussian_singular_values, a, b, num):
    s = jnp.asarray(gaussian_singular_values([1, a, b], a, b, num))
    sigma = np.asarray(jax.jit(jax.vmap(lambda x: noise.sigma_bulk(x, a, b)))(s))
    entries = np.sqrt(np.sum(np.square(s), axis=1) / (a * b))
    # without the 1/b term of the expectation the bias of sigma^2 is 3e-3 at 64 x 64
    error = 4 * np.std(sigma**2) / np.sqrt(num)
    assert abs(np.mean(sigma**2) - 1) < 7e-4 + error
    assert np.std(np.log(sigma)) < 1.2 * np.std(np.log(entries))


def test_sigma_bulk_scales_with_the_matrix_and_ignores_orientation():
    w = np.random.default_rng(2).standard_normal((60, 45))
    assert bulk(1e-3 * w) == pytest.approx(1e-3 * bulk(w), rel=1e-12)
    assert bulk(w.T.copy()) == pytest.approx(bulk(w), rel=1e-12)


def test_sigma_bulk_under_vmap_is_that_of_each_matrix():
    rng = np.random.default_rng(3)
    s = jnp.asarray(np.linalg.svd(rng.standard_normal((5, 60, 45)) * rng.uniform(1, 9, (5, 1, 1)), compute_uv=False))
    batched = jax.jit(jax.vmap(lambda x: noise.sigma_bulk(x, 60, 45)))(s)
    np.testing.assert_allclose(batched, [noise.sigma_bulk(x, 60, 45) for x in s], rtol=1e-12)


@pytest.mark.parametrize("ratio", [50, 100, 400, 1000, 10_000])
def test_sigma_bulk_where_weightwatcher_fails(gaussian_singular_values, ratio):
    # WeightWatcher 0.7.7's edge on these is 0.955, 0.903, 1.000, 2.50, 25.0 times the true one
    spike = np.sqrt(ratio) * (np.sqrt(2048) + np.sqrt(1024))
    for s in gaussian_singular_values([4, ratio], 2048, 1024, 4, spike):
        sigma = noise.sigma_bulk(jnp.asarray(s), 2048, 1024)
        assert (s[0] / (np.sqrt(2048) + np.sqrt(1024))) ** 2 == pytest.approx(ratio, rel=0.1)
        assert sigma == pytest.approx(1, abs=3e-3)
        assert [int(x) for x in edges.num_outliers(jnp.asarray(s), 2048, 1024, sigma, 0.01)] == [1, 0]


@pytest.mark.parametrize("q", [1, 2, 4])
@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("strength", [(1.2, 1.5), (7, 7), (5, 100)], ids=["weak", "equal", "unequal"])
def test_sigma_bulk_is_unmoved_by_spikes_and_they_are_found(q, k, strength):
    m, n = 384 * q, 384
    rng = np.random.default_rng([5, q, k])
    w = rng.standard_normal((m, n)) + spikes(rng, m, n, np.geomspace(*strength, k))
    s = fast_singular_values(w)
    sigma = noise.sigma_bulk(s, m, n)
    assert sigma == pytest.approx(1, abs=1e-2)
    assert [int(x) for x in edges.num_outliers(s, m, n, sigma, 0.01)] == [k, 0]


def test_false_outliers_beside_true_ones_keep_the_level():
    rng = np.random.default_rng(6)
    w = rng.standard_normal((1500, 60, 30))
    w += np.array([spikes(rng, 60, 30, [2, 3, 9]) for _ in w])
    s = jnp.asarray(np.linalg.svd(w, compute_uv=False))
    sigma = jax.vmap(lambda x: noise.sigma_bulk(x, 60, 30))(s)
    right, left = jax.vmap(lambda x, y: edges.num_outliers(x, 60, 30, y, 0.05))(s, sigma)
    assert np.all(right >= 3)
    assert np.mean(right > 3) < 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 1500)
    assert np.mean(left > 0) < 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 1500)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.48])
@pytest.mark.parametrize("factor", [0.0, 0.03, 30.0])
def test_silent_faint_and_loud_columns_do_not_move_sigma_bulk(share, factor):
    w = np.random.default_rng(7).standard_normal((300, 150))
    changed = int(share * 150)
    w[:, :changed] *= factor
    assert bulk(w) == pytest.approx(1, abs=0.015)
    assert outliers(w) == ((changed, 0) if factor > 1 else (0, changed))


def test_outliers_on_both_sides_up_to_half_of_all_values():
    w = np.random.default_rng(10).standard_normal((300, 150))
    w[:, :40] *= 0.03
    w[:, 40:74] *= 30
    assert bulk(w) == pytest.approx(1, abs=0.015)
    assert outliers(w) == (34, 40)


def test_matrix_of_low_rank_has_no_noise():
    rng = np.random.default_rng(8)
    w = rng.standard_normal((90, 8)) @ rng.standard_normal((8, 70))
    assert bulk(w) < 1e-14 * w.std()
    s = jnp.concatenate([jnp.arange(8.0, 0, -1), jnp.zeros(62)])
    assert noise.sigma_bulk(s, 90, 70) == 0


@pytest.mark.parametrize("decay", [0.5, 1.0, 3.0])
def test_heavy_spectra_give_a_finite_positive_level(decay):
    # no Marchenko-Pastur law anywhere: the level stays of the size of the middle of the spectrum
    s = np.arange(1, 301) ** -decay
    sigma = float(noise.sigma_bulk(jnp.asarray(s), 400, 300))
    assert 0.3 * s[220] < sigma * np.sqrt(400) < 3 * s[100]


def test_degenerate_matrices():
    assert noise.sigma_bulk(jnp.zeros(4), 4, 5) == 0
    assert np.isnan(noise.sigma_bulk(jnp.full(4, jnp.nan), 4, 5))
    row = np.random.default_rng(9).standard_normal((1, 50))
    assert bulk(row) == pytest.approx(np.sqrt(np.mean(row**2)), rel=1e-12)
    assert bulk(np.array([[-2.0]])) == pytest.approx(2, rel=1e-12)


def test_wrong_number_of_singular_values_is_refused():
    with pytest.raises(ValueError, match=r"4 x 6 matrix has 4 singular values, got an array of shape \(5,\)"):
        noise.sigma_bulk(jnp.ones(5), 4, 6)
