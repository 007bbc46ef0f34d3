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
