"""Signflip parallel analysis: its level on noise of many kinds, what it finds, what it abstains from.

Seeds are fixed. Rates are of exchangeable draws: each of the K + 1 takes the place of the matrix in turn.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import ensembles, extremes, flips_null, hard_edge, signs, svd, tracy_widom

KEYS = jax.random.split(jax.random.key(3), 16)


def read(w, **options):
    found = svd.decompose(w)
    return signs.read(w, found.u, found.s, found.vt, KEYS[: len(w)], **options)


def spiked(kind, shape, num, seed, low=1.3, high=2.6):
    rng = np.random.default_rng(seed)
    w = ensembles.noise(kind, rng, *shape)
    edge = np.std(w) * (shape[0] ** 0.5 + shape[1] ** 0.5)
    return ensembles.planted(w, edge * np.linspace(low, high, num), rng)


@pytest.mark.parametrize("law", [flips_null.SOFT, 0, 8])
@pytest.mark.parametrize("num_flips", [3, 7])
def test_the_null_keeps_its_level_at_any_number_of_flips(law, num_flips):
    if law == flips_null.SOFT:
        nodes = np.linspace(-6, 6, 60)
        cdf = tracy_widom.cdf(nodes)
    else:
        grid = np.geomspace(1e-10, 300, 300)
        cdf = np.array([1 - hard_edge.survival(x, law) for x in grid])
        nodes = np.log(grid) / 2
    uniform = np.random.default_rng(1).random((num_flips + 1, 4000))
    draws = np.interp(uniform, cdf, nodes) if law == flips_null.SOFT else -np.interp(uniform, cdf, nodes)
    for level in (0.01, 0.05):
        beyond = [x > flips_null.threshold(f, law, level) for x, f in zip(draws[0], draws[1:].T, strict=True)]
        tolerance = 3 * (level / 4000) ** 0.5
        # the soft edge's law is more skewed than F1, on purpose
        least = 0.6 if law == flips_null.SOFT else 1.0
        assert least * level - tolerance <= np.mean(beyond) <= level + tolerance


def test_p_and_threshold_agree():
    flips = np.random.default_rng(0).standard_normal(7)
    for law in (flips_null.SOFT, 0, 2):
        x = flips_null.threshold(flips, law, 0.02)
        assert flips_null.p_value(flips_null.z_value(x, flips, law), law, 7) == pytest.approx(0.02, abs=1e-3)
    assert flips_null.p_value(1e9, 0, 7) == pytest.approx(1 / 200_001)


@pytest.mark.parametrize("shape", [(48, 48), (96, 48)])
@pytest.mark.parametrize("kind", ["gaussian", "t5", "sparse", "both:0.5", "columns:0.5", "huge", "int4"])
def test_flips_of_noise_keep_the_level(kind, shape):
    num, num_flips, level = 60, 7, 0.05
    rng = np.random.default_rng([5, *shape])
    fires = []
    for _ in range(num):
        w = ensembles.noise(kind, rng, *shape)
        s = np.linalg.svd(w * rng.choice([-1.0, 1.0], (num_flips + 1, *shape)), compute_uv=False) + 1e-12
        for law, x in ((flips_null.SOFT, np.log(s[:, 0])), (flips_null.left_law(*shape), -np.log(s[:, -1]))):
            fires.append([x[j] > flips_null.threshold(np.delete(x, j), law, level) for j in range(num_flips + 1)])
    rates = np.mean(np.reshape(fires, (num, 2, -1)), axis=(0, 2))
    # 480 draws a side, eight of them dependent: somewhat wider than binomial
    low, high = scipy.stats.binom.ppf([1e-3, 1 - 1e-3], num * (num_flips + 1), [0.5 * level, 1.4 * level])
    assert np.all((low / 480 <= rates) & (rates <= high / 480)), rates


def test_reading_of_noise_finds_nothing_and_its_p_are_uniform():
    w = np.stack([ensembles.noise("both:0.3", np.random.default_rng(i), 60, 30) for i in range(120)])
    found = svd.decompose(w)
    reading = signs.read(w, found.u, found.s, found.vt, jax.random.split(jax.random.key(0), 120))
    assert np.mean(reading.num_right > 0) < 0.06
    assert np.mean(reading.num_left > 0) < 0.06
    for p in (reading.p_right, reading.p_left):
        assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(reading.num_right > 0, reading.p_right <= 0.01)


@pytest.mark.parametrize("kind", ["gaussian", "both:0.25"])
@pytest.mark.parametrize("shape", [(400, 100), (100, 400), (150, 150)])
def test_planted_components_are_found_whatever_the_profile(kind, shape):
    w = np.stack([spiked(kind, shape, 15, seed) for seed in range(2)])
    reading = read(w, start=[(15, 0)] * 2)
    np.testing.assert_allclose(reading.num_right, 15, atol=1)
    assert np.all(reading.num_left <= 1)
    assert np.all(reading.p_right < 1e-3)
    assert np.all(np.abs(read(w, start=[(15, 0)] * 2, num_rounds=1).z_left) < 4)


def test_strong_components_shadow_weak_ones_until_they_are_taken_out():
    w = spiked("gaussian", (400, 100), 20, 1, high=8)[None]
    one, rounds = read(w, num_rounds=1), read(w)
    assert one.num_right < 20
    assert rounds.num_right == 20
    assert rounds.num_left == 0
    assert one.rounds == 1
    assert 1 < rounds.rounds <= signs.NUM_ROUNDS


def test_faint_directions_are_found_on_the_left():
    rng = np.random.default_rng(2)
    w = rng.standard_normal((400, 100))
    basis = np.linalg.qr(rng.standard_normal((100, 5)))[0]
    w = (w - 0.9 * (w @ basis) @ basis.T) * np.exp(0.1 * rng.standard_normal(100))
    for x in (w, w.T):
        reading = read(x[None])
        assert (reading.num_right, reading.num_left) == (0, 5)
        assert reading.p_left < 1e-3


def test_device_and_host_make_the_same_flips():
    for shape in ((24, 40),):
        w = spiked("both:0.25", shape, 3, 0)
        found = svd.decompose(w[None])
        s, vectors = found.s[0], (found.u[0], found.vt[0])
        for k, l in ((0, 0), (3, 2)):
            host = signs._on_host(w, s, vectors)(k, l, np.random.default_rng(1), 4)
            device = signs._on_device(jnp.asarray(w), s, vectors)(k, l, np.random.default_rng(1), 4)
            np.testing.assert_allclose(device, host, rtol=1e-8)
        plain = signs._on_device(w, s, None)(0, 0, np.random.default_rng(1), 4)
        np.testing.assert_allclose(plain, signs._on_host(w, s, None)(0, 0, np.random.default_rng(1), 4), rtol=1e-8)


def test_flips_of_the_residual_are_noise_of_what_is_left():
    # against the plain form: explicit projections, one scale, zeros dropped
    w = spiked("gaussian", (120, 60), 6, 4)
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    out = np.r_[:6, 58:60]
    residual = (w - (u[:, out] * s[out]) @ vt[out]) * (120 * 60 / (114 * 52)) ** 0.5
    rng = np.random.default_rng(0)
    slow = []
    for _ in range(100):
        x = residual * rng.choice([-1.0, 1.0], w.shape)
        x = (np.eye(120) - u[:, :6] @ u[:, :6].T) @ x @ (np.eye(60) - vt[out].T @ vt[out])
        values = np.linalg.svd(x, compute_uv=False)
        assert np.sum(values > 1e-9) == 52
        slow.append(np.log(values[[0, 51]]))
    fast = signs._on_host(w, s, (u, vt))(6, 2, np.random.default_rng(1), 100)
    np.testing.assert_allclose(np.mean(fast, axis=0), np.mean(slow, axis=0), atol=0.01)
    np.testing.assert_allclose(np.std(fast, axis=0), np.std(slow, axis=0), rtol=0.4)


def test_same_numbers_whatever_the_batch_and_the_scale():
    w = np.stack([spiked("t5", (64, 40), 3, seed) for seed in range(3)])
    whole = np.array(read(w))
    alone = read(w[:1])
    np.testing.assert_allclose(np.array(alone)[:, 0], whole[:, 0], rtol=1e-9)
    for scale in (1e-160, 1e150):
        np.testing.assert_allclose(np.array(read(w * scale)), whole, rtol=1e-6)


def test_a_matrix_of_low_rank_has_that_many_components():
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((60, 4)) @ rng.standard_normal((4, 40)))[None]
    assert read(w).num_right == read(w, start=[(4, 0)]).num_right == 4
    assert read(w.astype(np.float32)).num_right == read(w.astype(np.float32), start=[(4, 0)]).num_right == 4


def test_a_component_that_is_one_entry_can_be_taken_out():
    w = np.random.default_rng(0).standard_normal((1, 40, 30))
    w[0, 3], w[0, :, 4] = 0, 0
    w[0, 3, 4] = 500.0
    reading = read(w, start=[(1, 0)])
    assert read(w).num_right == 0  # |W| explains it
    assert np.isfinite(np.array(reading)).all()


def test_zero_rows_are_no_left_outliers():
    w = np.random.default_rng(0).standard_normal((3, 40, 40))
    w[:, 5], w[1, :, 7], w[2, 9] = 0, 0, 0
    assert np.all(read(w).num_left == 0)


def test_it_abstains():
    rng = np.random.default_rng(0)
    assert np.isnan(read(rng.standard_normal((1, 30, 7)))).all()
    assert np.isnan(read(rng.standard_normal((1, 30, 20)), num_flips=0)).all()
    w = rng.standard_normal((3, 30, 20))
    w[0], w[1, 2, 3] = 0, np.nan
    reading = np.array(read(w))
    assert np.isnan(reading[:, :2]).all()
    assert np.isfinite(reading[:, 2]).all()
    with pytest.raises(ValueError, match="num_flips is 2"):
        read(w, num_flips=2)


@pytest.mark.parametrize("w", [np.eye(32), np.diag(np.arange(1.0, 33)), np.ones((32, 32)), np.eye(40, 32)])
def test_matrices_without_noise_do_not_break_it(w):
    reading = read(w[None])
    assert np.isfinite(np.array(reading)).all()
    if not np.all(w == 1):
        assert (reading.num_right, reading.num_left) == (0, 0)


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_ends_alone_give_the_same_reading(monkeypatch, rounds):
    w = np.stack([*(spiked(kind, (96, 64), 5, 1) for kind in ("gaussian", "both:0.5")), np.eye(96, 64)])
    w[1, 3] = 0
    whole = read(w, num_rounds=rounds)
    monkeypatch.setattr(extremes, "LEAST_SIDE", 2)
    ends = read(w, num_rounds=rounds)
    for name in ("num_right", "num_left", "p_right", "p_left", "taken_right", "taken_left", "rounds"):
        np.testing.assert_array_equal(getattr(ends, name), getattr(whole, name), err_msg=name)
    np.testing.assert_allclose(ends.z_right, whole.z_right, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ends.z_left, whole.z_left, rtol=1e-6, atol=1e-6)
