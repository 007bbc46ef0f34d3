"""The KS statistic against its definition, its p-values on Gaussian matrices, the local average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from eigensweep.engine.run.nulls import p_values
from eigensweep.engine.spectral import ks
from eigensweep.engine.spectral.null import table
from eigensweep.engine.spectral.svd import decompose


def unit_vectors(*shape, seed=0, dtype=np.float64):
    x = np.random.default_rng(seed).standard_normal(shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)


def reference(x):
    """D of one vector: SciPy's one-sample statistic against N(0, 1/n)."""
    return stats.kstest(x, stats.norm(scale=len(x) ** -0.5).cdf).statistic


@pytest.mark.parametrize("n", [1, 2, 3, 17, 500])
def test_statistic_is_scipys(n):
    x = unit_vectors(6, n)
    expected = [reference(v) for v in x]
    np.testing.assert_allclose(ks.ks_statistic(x), expected, rtol=1e-12)
    found = ks.ks_statistic(jnp.asarray(x))
    assert isinstance(found, jax.Array)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(ks._on_device(jnp.asarray(x)), expected, rtol=1e-12)


def test_extremes():
    """A coordinate vector is as far as it can be: all but one entry sit at the middle."""
    n = 1000
    d = ks.ks_statistic(np.eye(n)[0])
    assert d == pytest.approx(0.5, abs=1e-3)
    quantiles = stats.norm.ppf((np.arange(n) + 0.5) / n)
    assert ks.ks_statistic(quantiles / np.sqrt(n)) == pytest.approx(0.5 / n, rel=1e-9)
    assert ks.ks_statistic(np.full(n, n**-0.5)) == pytest.approx(stats.norm.cdf(1), rel=1e-12)


def test_shapes_strides_and_dtypes():
    x = unit_vectors(3, 40, 25)
    columns = x.swapaxes(1, 2)
    expected = np.array([[reference(v) for v in part] for part in columns])
    for given in (columns, jnp.asarray(columns), np.ascontiguousarray(columns)):
        np.testing.assert_allclose(ks.ks_statistic(given), expected, rtol=1e-12)
    np.testing.assert_allclose(ks._on_device(jnp.asarray(columns)), expected, rtol=1e-12)
    kept = x.copy()
    ks.ks_statistic(x)
    np.testing.assert_array_equal(x, kept)
    single = ks.ks_statistic(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, ks.ks_statistic(x), atol=1e-6)
    assert ks.ks_statistic(np.zeros((4, 0, 9))).shape == (4, 0)
    assert ks.ks_statistic(x[0, 0]).shape == ()


@pytest.mark.parametrize("block", [2**16, 60])
def test_arrays_that_are_not_contiguous(monkeypatch, block):
    """Columns, every other vector, reversed, broadcast: 1-D to 4-D."""
    monkeypatch.setattr(ks, "BLOCK_ELEMENTS", block)
    u = np.ascontiguousarray(unit_vectors(20, 30).T)  # vectors as columns
    x = unit_vectors(4, 6, 5, 16)
    views = [
        *(u[:, k] for k in (0, 7, -1)), u[::-1, 3], u.T, u.T[::3, ::-1], x[..., 2, :, 0].mT,
        x[::2, 1, ::-2], x.swapaxes(0, 2), x[:, ::2, 1:, ::-1], np.broadcast_to(u[:, 1], (3, 2, 30)), x[1:1],
    ]  # fmt: skip
    for view in views:
        assert not (view.flags.c_contiguous and view.size)
        expected = [reference(v) for v in view.reshape(-1, view.shape[-1])]
        found = ks.ks_statistic(view)
        assert found.shape == view.shape[:-1]
        np.testing.assert_allclose(found.ravel(), expected, rtol=1e-12)


def test_many_blocks(monkeypatch):
    x = unit_vectors(50, 30)
    expected = ks.ks_statistic(x)
    monkeypatch.setattr(ks, "BLOCK_ELEMENTS", 100)
    np.testing.assert_array_equal(ks.ks_statistic(x), expected)


def test_sign_and_order_do_not_matter_inside_jit_and_vmap():
    x = unit_vectors(5, 64)
    d = ks.ks_statistic(x)
    np.testing.assert_allclose(jax.vmap(ks.ks_statistic)(jnp.asarray(x)), d, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(ks.ks_statistic)(jnp.asarray(-x[:, ::-1])), d, rtol=1e-12)


@pytest.mark.parametrize("statistic", [ks.ks_statistic, ks._on_device])
def test_nan_stays_with_its_vector(statistic):
    x = unit_vectors(40, 300)
    x[3, 7] = np.nan
    d = np.asarray(statistic(x))
    assert np.flatnonzero(np.isnan(d)).tolist() == [3]


def test_p_values_of_gaussian_matrices_are_uniform():
    """Left and right singular vectors of Gaussian matrices: uniform p, and their local mean spreads as it should."""
    w = np.random.default_rng(3).standard_normal((40, 150, 100))
    found = decompose(w, "lapack")
    for vectors, n in ((found.vt, 100), (found.u.swapaxes(1, 2), 150)):
        p = table.p_value_table(ks.ks_statistic(vectors), n)
        assert p.shape == (40, 100)
        assert stats.kstest(p.ravel(), "uniform").pvalue > 1e-3
        for side in (p[:, :10], p[:, -10:]):  # the ends of the spectrum too
            assert stats.kstest(side.ravel(), "uniform").pvalue > 1e-3
        middle = ks.local_average(p)[:, 10:-10]
        assert np.std(middle) == pytest.approx(1 / np.sqrt(12 * 15), rel=0.1)


def test_p_values_notice_localised_vectors():
    w = np.random.default_rng(4).standard_normal((1, 200, 150))
    w[0, 3, 5] = 200.0
    found = decompose(w, "lapack")
    p = table.p_value_table(ks.ks_statistic(found.vt), 150)
    assert p[0, 0] == table.BOUND
    assert np.median(p[0, 1:]) > 0.3


def slow_local_average(p, half_width):
    out = np.full(p.shape, np.nan)
    for i in range(len(p)):
        window = p[max(0, i - half_width) : i + half_width + 1]
        if not np.isnan(p[i]):
            out[i] = np.nanmean(window)
    return out


@pytest.mark.parametrize(("size", "half_width"), [(40, 7), (5, 7), (1, 7), (20, 0), (20, 3)])
def test_local_average(size, half_width):
    p = np.random.default_rng(0).random((3, size))
    p[0, -size // 4 :] = np.nan
    p[1, size // 2] = np.nan
    found = ks.local_average(p, half_width)
    np.testing.assert_allclose(found, [slow_local_average(row, half_width) for row in p], rtol=1e-13)


@pytest.mark.parametrize(("length", "num"), [(4, 20_000), (16, 6_000), (40, 2_000)])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_sd_of_a_mean_is_that_of_random_rotations(length, num, share):
    """Of all vectors of a rotation, and of half of them: the short and the long side of a Gaussian matrix."""
    rng, count = np.random.default_rng(length), round(share * length)
    rotation = np.linalg.qr(rng.standard_normal((num, length, length)))[0].swapaxes(1, 2)
    d = ks.ks_statistic(np.ascontiguousarray(rotation[:, :count]))
    p = p_values(d, length, num_draws=200_000)
    # the sample's own error is 1/sqrt(2 num), 0.5 to 1.6 %
    assert np.std(p.mean(axis=1)) == pytest.approx(ks.mean_sd(count, length), rel=0.03 if length > 4 else 0.02)
    assert ks.mean_sd(count, length) < 0.97 / np.sqrt(12 * count)


def test_sd_of_a_mean_at_its_ends():
    np.testing.assert_allclose(ks.mean_sd([1, 0], 50), [1 / np.sqrt(12), np.nan])
    assert ks.mean_sd(2, 2) == 0  # of two orthogonal vectors in a plane one's D settles the other's
    assert ks.mean_sd(15, 10**6) == pytest.approx(1 / np.sqrt(180), rel=1e-4)


def test_bands_of_averages_are_those_of_averages():
    """Against Gaussian matrices: in the middle, at the ends, beside gaps, and of the mean over matrices."""
    w = np.random.default_rng(8).standard_normal((3, 200, 60, 30))
    p = np.stack([table.p_value_table(ks.ks_statistic(decompose(x, "lapack").vt), 30) for x in w])
    p[:, :, 12] = np.nan
    average = ks.local_average(p)
    sd = ks.local_average_sd(p, 30)
    assert np.isnan(sd[..., 12]).all()
    assert np.nanmax(np.abs(average.std(axis=1).mean(axis=0) / sd[0, 0] - 1)) < 0.12
    assert sd[0, 0, 0] == pytest.approx(ks.mean_sd(8, 30))
    assert sd[0, 0, 15] == pytest.approx(ks.mean_sd(14, 30))
    mean = average.mean(axis=0)
    assert np.nanmax(np.abs(mean.std(axis=0) / ks.sd_over_matrices(sd[:, 0]) - 1)) < 0.2
    np.testing.assert_allclose(
        ks.sd_over_matrices(np.array([[3.0, np.nan, 1], [4.0, np.nan, np.nan]])), [2.5, np.nan, 1]
    )
