"""Controls: their law, their determinism, their dtypes."""

import jax
import ml_dtypes
import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import controls

KEY = jax.random.key(5)
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


def weights(dtype=np.float32, shape=(80, 50)):
    return (np.random.default_rng(0).standard_t(3, shape) * 0.02 + 0.01).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gaussian_has_the_shape_spread_and_law(dtype):
    w = weights(dtype, (300, 200))
    control = controls.gaussian(KEY, w)
    assert control.shape == w.shape
    assert control.dtype == (np.float64 if dtype == np.float64 else np.float32)
    sigma = w.astype(np.float64).std()
    assert scipy.stats.kstest(control.ravel(), scipy.stats.norm(scale=sigma).cdf).pvalue > 0.01
    assert scipy.stats.kstest(control.ravel(), scipy.stats.norm(scale=1.05 * sigma).cdf).pvalue < 1e-3


def test_gaussian_takes_its_spread_from_all_entries(monkeypatch):
    w = np.random.default_rng(1).standard_normal((70, 30)) * np.arange(1, 71)[:, None]
    whole = controls.gaussian(KEY, w)
    monkeypatch.setattr(controls, "_CHUNK", 64)
    np.testing.assert_allclose(controls.gaussian(KEY, w), whole, rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_permutation_keeps_every_value_and_moves_them(dtype):
    w = weights(dtype)
    w[0, :3] = [-0.0, np.nan, np.inf]
    control = controls.permutation(KEY, w)
    assert control.shape == w.shape
    assert control.dtype == w.dtype
    bits = f"u{w.dtype.itemsize}"
    np.testing.assert_array_equal(np.sort(control.view(bits), axis=None), np.sort(w.view(bits), axis=None))
    assert np.mean(control.view(bits) == w.view(bits)) < 0.05


def test_permutation_is_uniform():
    w = np.arange(3, dtype=np.float32)[None]
    orders = [tuple(controls.permutation(jax.random.key(i), w)[0]) for i in range(600)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert scipy.stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("dtype", [*DTYPES, ml_dtypes.float8_e4m3fn])
def test_signs_keep_every_magnitude_and_flip_half_of_the_signs(dtype):
    w = weights(dtype, (80, 51))
    w[0, :2] = [-0.0, np.nan]
    control = controls.signs(KEY, w)
    assert control.shape == w.shape
    assert control.dtype == w.dtype
    bits = f"u{w.dtype.itemsize}"
    changed = control.view(bits) ^ w.view(bits)
    assert set(np.unique(changed).tolist()) == {0, 1 << (8 * w.dtype.itemsize - 1)}
    assert scipy.stats.binomtest(np.count_nonzero(changed), w.size).pvalue > 0.01
    assert abs(np.corrcoef((changed[:, 1:] > 0).ravel(), (changed[:, :-1] > 0).ravel())[0, 1]) < 0.05


def test_packed_bits_say_which_signs_flip():
    w = weights(shape=(7, 5))
    packed = controls.packed_bits(np.random.default_rng(0), w.size)
    assert packed.size == 5
    signs = 1 - 2 * np.unpackbits(packed, count=35).astype(np.float32).reshape(7, 5)
    np.testing.assert_array_equal(controls.flip(w, packed), w * signs)
    np.testing.assert_array_equal(controls.flip(np.asfortranarray(w), packed), w * signs)


@pytest.mark.parametrize("control", [controls.gaussian, controls.permutation])
def test_same_key_same_numbers_other_key_others(control):
    w = weights()
    first = control(KEY, w)
    np.testing.assert_array_equal(control(KEY, w), first)
    np.testing.assert_array_equal(control(KEY, np.asfortranarray(w)), first)
    np.testing.assert_array_equal(control(jax.random.key_data(KEY), w), first)  # a raw uint32 key
    assert np.mean(control(jax.random.key(6), w) == first) < 0.05
    assert np.mean(control(jax.random.fold_in(KEY, 1), w) == first) < 0.05


def test_signs_are_those_of_their_key():
    w = weights()
    first = controls.signs(KEY, w)
    np.testing.assert_array_equal(controls.signs(KEY, w), first)
    np.testing.assert_array_equal(controls.signs(jax.random.key_data(KEY), w), first)
    assert 0.4 < np.mean(controls.signs(jax.random.key(6), w) == first) < 0.6


def test_input_is_left_alone():
    w = weights()
    before = w.copy()
    w.flags.writeable = False
    controls.gaussian(KEY, w)
    controls.permutation(KEY, w)
    controls.signs(KEY, w)
    np.testing.assert_array_equal(w, before)


def test_empty_matrix():
    w = np.zeros((0, 4), np.float32)
    assert controls.gaussian(KEY, w).shape == controls.permutation(KEY, w).shape == (0, 4)
    assert controls.signs(KEY, w).shape == (0, 4)


def test_batch_of_keys_is_refused():
    with pytest.raises(ValueError, match=r"one random key, got an array of keys of shape \(2,\)"):
        controls.gaussian(jax.random.split(KEY), weights())
