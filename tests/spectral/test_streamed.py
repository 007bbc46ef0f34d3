"""The streamed decomposition against LAPACK: many slabs, many groups, any orientation, dtype and scale."""

import ml_dtypes
import numpy as np
import pytest

from eigensweep.engine.spectral.svd import decompose, streamed
from eigensweep.engine.spectral.svd.streamed import streamed_svd


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """60 columns of 700 then make a dozen slabs and eight groups."""
    monkeypatch.setattr(streamed, "SLAB_BYTES", 8 * 60 * 64)
    monkeypatch.setattr(streamed, "GROUP_BYTES", 8 * 700 * 8)


def gaussian(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def with_condition(condition):
    u, _, vt = np.linalg.svd(gaussian(700, 60), full_matrices=False)
    return u * np.geomspace(1, 1 / condition, 60) @ vt


def collect(w):
    groups, rows = [], []
    result = streamed_svd(w, lambda group, vectors: (groups.append(group), rows.append(vectors)))
    assert np.concatenate([np.arange(60)[group] for group in groups]).tolist() == list(range(60))
    assert len(groups) == 8
    return result, np.concatenate(rows)


@pytest.mark.parametrize(
    ("w", "orthogonality"),
    [
        (gaussian(700, 60), 1e-13),
        (gaussian(60, 700), 1e-13),
        (gaussian(700, 60) * 1e-250, 1e-13),
        (gaussian(60, 700) * 1e250, 1e-13),
        (gaussian(700, 60).astype(ml_dtypes.bfloat16), 1e-13),
        (np.asfortranarray(gaussian(700, 60).astype(np.float32)), 1e-13),
        (with_condition(1e3), 1e-11),
        (with_condition(1e5).T, 1e-9),
        (with_condition(1e8), 1e-5),  # what is lost: see streamed.py
    ],
)
def test_against_lapack(w, orthogonality):
    found, long = collect(w)
    x = w.astype(np.float64)
    unit = np.linalg.svd(x, compute_uv=False)[0]
    x = x / unit
    np.testing.assert_allclose(found.s / unit, np.linalg.svd(x, compute_uv=False), atol=1e-14)
    assert np.all(np.diff(found.s) <= 0)
    left, right = (long, found.short) if w.shape[0] > w.shape[1] else (found.short, long)
    np.testing.assert_allclose(left.T * (found.s / unit) @ right, x, atol=1e-13)
    np.testing.assert_allclose(found.short @ found.short.T, np.eye(60), atol=1e-13)
    loss = np.max(np.abs(long @ long.T - np.eye(60)))
    assert loss < orthogonality
    assert found.residual < 1e-13
    assert loss / 5 < found.orthogonality + 1e-13 < 20 * loss + 1e-12  # the probes measure what was lost


def test_small_values_keep_their_digits():
    """One Gram matrix would leave a relative error of eps * 1e12 in the smallest value; the stages leave 1e-9."""
    found, _ = collect(with_condition(1e6))
    np.testing.assert_allclose(found.s, np.geomspace(1, 1e-6, 60), rtol=1e-9)


@pytest.mark.parametrize("rank", [0, 1, 30])
def test_vectors_beyond_the_rank_are_nan(rank):
    w = np.zeros((700, 60))
    w[:, :rank] = gaussian(700, rank)
    found, long = collect(w)
    assert np.isnan(long[rank:]).all()
    assert np.isfinite(long[:rank]).all()
    assert not found.s[rank:].any()
    assert max(found.residual, found.orthogonality) < 1e-12


def test_as_a_strategy():
    w = np.stack([gaussian(80, 12), np.full((80, 12), np.nan)])
    found, reference = decompose(w, "streamed"), decompose(w, "lapack")
    assert found.strategy == ("streamed", "streamed")
    np.testing.assert_allclose(found.s, reference.s, rtol=1e-12)
    np.testing.assert_allclose((found.u[0] * found.s[0]) @ found.vt[0], w[0], atol=1e-13)
    assert np.isnan(found.vt[1]).all()
