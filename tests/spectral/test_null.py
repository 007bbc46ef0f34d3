"""The sort-free sampler against sorting, and against itself over batches and devices; p-values by definition."""

import hashlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from eigensweep.engine.spectral import ks
from eigensweep.engine.spectral.null import sampling


def sorted_draws(n, num_draws, seed):
    """D the obvious way: Gaussian vectors, normalised, sorted."""
    x = np.random.default_rng(seed).standard_normal((num_draws, n))
    return np.sort(ks.ks_statistic(x / np.linalg.norm(x, axis=1, keepdims=True)))


@pytest.mark.parametrize("n", [2, 3, 16, 63, 64, 400])
def test_sampler_agrees_with_sorting(n):
    num_draws = 10_000
    d = sampling.sample_null(jax.random.key(n), n, num_draws)
    assert d.shape == (num_draws,)
    assert d.dtype == np.float32
    assert np.all(np.diff(d) >= 0)
    assert stats.ks_2samp(d, sorted_draws(n, num_draws, n)).pvalue > 1e-3


def test_same_draws_in_float64():
    """Every step again in float64 from the same uniforms: D differs by rounding, and by little even at its worst."""
    n, key = 500, jax.random.key(1)
    d = np.asarray(jax.jit(sampling._draw_chunk, static_argnums=1)(key, n))
    columns = -(-(n + 1) // 64) * 64
    words = np.asarray(jax.random.bits(key, (sampling.chunk_rows(n), columns // 2), jnp.uint64))
    bits = np.concatenate([words & 0xFFFFFFFF, words >> 32], axis=1)[:, : n + 1]
    sums = np.cumsum(-np.log(((bits >> 9) + 0.5) * 2.0**-23), axis=1)
    z = stats.norm.ppf(sums[:, :n] / sums[:, n:])
    expected = ks.ks_statistic(z / np.linalg.norm(z, axis=1, keepdims=True))
    assert np.median(np.abs(d / expected - 1)) < 5e-6
    assert np.max(np.abs(d / expected - 1)) < 1e-2


def test_normal_quantile():
    u = np.linspace(2.0**-24, 1 - 2.0**-24, 100_001).astype(np.float32)
    z = np.asarray(sampling._normal_quantile(jnp.asarray(u)), np.float64)
    assert np.max(np.abs(stats.norm.cdf(z) - u)) < 1e-6
    assert np.all(np.isfinite(z))


def test_no_draw_is_nan_at_the_ends_of_the_uniforms():
    """Chunks of short vectors reach U = 0 and U = 1 in float32."""
    d = sampling.sample_null(jax.random.key(0), 2, 200_000)
    assert np.isfinite(d).all()
    assert d[0] >= 0.25
    assert d[-1] < 1


@pytest.mark.parametrize("n", [20, 5000])
def test_batch_size_and_continuation_change_nothing(n):
    key, num_draws = jax.random.key(2), 3 * sampling.chunk_rows(n) + 5
    whole = np.concatenate(list(sampling.draws(key, n, num_draws)))
    assert whole.size == num_draws
    for batch_size in (1, sampling.chunk_rows(n), 2 * sampling.chunk_rows(n) + 1, 10**6):
        parts = list(sampling.draws(key, n, num_draws, batch_size))
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    for first in (1, sampling.chunk_rows(n), num_draws - 1):
        rest = np.concatenate(list(sampling.draws(key, n, num_draws, first_draw=first)))
        np.testing.assert_array_equal(rest, whole[first:])


def test_seeds_differ():
    a, b = (sampling.sample_null(jax.random.key(seed), 50, 1000) for seed in (0, 1))
    assert not np.any(np.isin(a, b))


DEVICES = """
import hashlib
import jax
from jax.sharding import AxisType
jax.config.update("jax_num_cpu_devices", 8)
from eigensweep.engine.spectral.null import sampling
pair = jax.make_mesh((2,), ("draws",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
for mesh, batch in ((pair, 1000), (None, 5000)):
    d = sampling.sample_null(jax.random.key(3), 700, 5000, batch, mesh)
    print(jax.local_device_count(), hashlib.sha256(d.tobytes()).hexdigest())
"""


def test_devices_change_nothing():
    """One here, two and eight in another process."""
    here = sampling.sample_null(jax.random.key(3), 700, 5000)
    command = [sys.executable, "-c", DEVICES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["8", hashlib.sha256(here.tobytes()).hexdigest()] * 2, done.stderr


def test_p_value_counts():
    table = np.sort(np.random.default_rng(0).random(999)).astype(np.float32)
    d = np.concatenate([table[[0, 10, 998]], [0.0, 0.5, 1.5]]).astype(np.float32)
    expected = [(1 + np.sum(table >= x)) / 1000 for x in d]
    np.testing.assert_allclose(sampling.p_value(d, table), expected, rtol=1e-7)
    p = sampling.p_value(np.array([[np.nan, 2.0]]), table)
    assert np.isnan(p[0, 0])
    assert p[0, 1] == pytest.approx(1e-3)


def test_p_values_are_uniform_on_gaussian_vectors():
    n = 120
    table = sampling.sample_null(jax.random.key(5), n, 50_000)
    x = np.random.default_rng(6).standard_normal((4000, n))
    p = sampling.p_value(ks.ks_statistic(x / np.linalg.norm(x, axis=1, keepdims=True)), table)
    assert stats.kstest(p, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("n", "num_draws"), [(1, 10), (0, 10), (10, 0)])
def test_misuse(n, num_draws):
    with pytest.raises(ValueError, match="expected n >= 2 and num_draws >= 1"):
        sampling.sample_null(jax.random.key(0), n, num_draws)
