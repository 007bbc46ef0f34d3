"""Second moments: streaming against plain NumPy, merging, padding, and their eigenvectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigensweep.engine.spectral import covariance

jax.config.update("jax_enable_x64", True)

D = 12


@pytest.fixture
def data():
    """(6, 7, D) float32 activations far from centred and of very unequal variances; (6, 7) mask."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((6, 7, D)) * np.logspace(0, -5, D) + 3).astype(np.float32)
    mask = np.arange(7) < rng.integers(2, 8, 6)[:, None]
    return x, mask


def stream(x, mask, batches):
    moments = covariance.zero(D)
    for part, tokens in zip(np.array_split(x, batches), np.array_split(mask, batches), strict=True):
        moments = covariance.accumulate(moments, part, tokens)
    return moments


def test_streaming_is_plain_numpy(data):
    x, mask = data
    moments = stream(x, mask, 6)
    rows = x[mask].astype(np.float64)
    assert moments.second.dtype == np.float64
    assert moments.tokens == mask.sum()
    np.testing.assert_allclose(covariance.covariance(moments), rows.T @ rows / len(rows), rtol=1e-13)
    np.testing.assert_allclose(covariance.covariance(moments, centred=True), np.cov(rows.T, bias=True), atol=1e-13)


def test_ten_batches_are_one():
    rng = np.random.default_rng(1)
    x, mask = rng.standard_normal((20, 5, D)).astype(np.float32), rng.random((20, 5)) < 0.8
    one, ten = (covariance.covariance(stream(x, mask, k)) for k in (1, 10))
    np.testing.assert_allclose(ten, one, rtol=1e-13, atol=1e-15)


def positions_of(x, mask, batches):
    positions = covariance.zero_positions(x.shape[1], D)
    for part, tokens in zip(np.array_split(x, batches), np.array_split(mask, batches), strict=True):
        positions = covariance.accumulate_positions(positions, part, tokens)
    return positions


@pytest.mark.parametrize("batches", [1, 3])
def test_positions_centred_out_are_plain_numpy(data, batches):
    """The mean over examples of each position is taken off each token; the last positions have one token or none."""
    x, mask = data
    mask = mask & (np.arange(7) < 6)
    mask[1:, 5] = False
    spoiled = np.where(mask[..., None], x, np.nan)
    moments, positions = stream(spoiled, mask, batches), positions_of(spoiled, mask, batches)
    rest = [x[mask[:, p], p].astype(np.float64) - x[mask[:, p], p].mean(axis=0, dtype=np.float64) for p in range(6)]
    expected = sum(r.T @ r for r in rest) / mask.sum()
    np.testing.assert_allclose(covariance.covariance(moments, positions=positions), expected, atol=1e-13)


def test_shares_of_means_add_up_to_a_planted_one():
    """x = 2 e_0 + a_p e_1 + noise: e_0 is the mean's, e_1 the positions', the rest neither's."""
    rng, shape = np.random.default_rng(2), (500, 8, D)
    x = 0.1 * rng.standard_normal(shape)
    x[..., 0] += 2
    x[..., 1] += np.tile([1, -1], 4)
    mask = np.ones(shape[:2], bool)
    moments, positions = stream(x, mask, 2), positions_of(x, mask, 2)
    axes = covariance.principal_axes(covariance.covariance(moments))
    of_mean, of_positions = covariance.shares_of_means(axes, moments, positions)
    np.testing.assert_allclose(of_mean[:2], [4 / 4.01, 0], atol=1e-3)
    np.testing.assert_allclose(of_positions[:2], [0, 1 / 1.01], atol=1e-3)
    assert (of_mean[2:] + of_positions[2:]).max() < 20 * 8 / 4000  # chance is T/N
    f = covariance.covariance(moments, positions=positions)
    assert np.linalg.eigvalsh(f).max() < 0.012
    without = covariance.shares_of_means(axes, moments)
    np.testing.assert_array_equal(without[0], of_mean)
    assert without[1] is None


def test_padding_may_hold_anything(data):
    x, mask = data
    spoiled = np.where(mask[..., None], x, np.nan)
    for a, b in zip(stream(spoiled, mask, 3), stream(x, mask, 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bfloat16_activations_count_as_the_numbers_they_are(data):
    x, _ = data
    low = jnp.asarray(x, jnp.bfloat16)
    moments = covariance.accumulate(covariance.zero(D), low)
    rows = np.asarray(low.astype(jnp.float64)).reshape(-1, D)
    np.testing.assert_allclose(moments.second, rows.T @ rows, rtol=1e-13)
    assert moments.tokens == 42


def test_small_eigenvalues_survive(data):
    """Variances down to 1e-10 beside a mean of 3: float32 products would lose them."""
    x, mask = data
    rows = x[mask].astype(np.float64)
    s = np.linalg.svd(rows, compute_uv=False)
    axes = covariance.principal_axes(covariance.covariance(stream(x, mask, 3)))
    np.testing.assert_allclose(axes.evals, s**2 / len(rows), rtol=1e-4)
    assert axes.evals[-1] < 1e-9 * axes.evals[0]


def test_axes_diagonalise_and_leave_out_what_the_data_do_not_determine():
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((4, D))  # rank 4
    axes = covariance.principal_axes(covariance.covariance(covariance.accumulate(covariance.zero(D), rows)))
    assert axes.vectors.shape == (4, D)
    assert axes.evals.shape == (D,)
    assert (np.diff(axes.evals) <= 0).all()
    f = rows.T @ rows / 4
    np.testing.assert_allclose(axes.vectors @ f @ axes.vectors.T, np.diag(axes.evals[:4]), atol=1e-13)


def test_no_data_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        covariance.principal_axes(covariance.covariance(covariance.zero(D)))
