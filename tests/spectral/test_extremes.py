"""Both ends of a Gram matrix's spectrum, against LAPACK's whole one: edges that crowd, copies, no full rank."""

import numpy as np
import pytest

from eigensweep.engine.spectral import ensembles, extremes

EPS = np.finfo(float).eps


@pytest.fixture
def whole(monkeypatch):
    """The Gram matrices that were decomposed whole after all; every size counts as large."""
    seen, of_all = [], extremes._of_all
    monkeypatch.setattr(extremes, "LEAST_SIDE", 2)
    monkeypatch.setattr(extremes, "_of_all", lambda gram: seen.append(gram) or of_all(gram))
    return seen


def with_values(values, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    gram = (q * values) @ q.T
    return (gram + gram.T) / 2


@pytest.mark.parametrize("shape", [(96, 96), (120, 96), (150, 96), (400, 96), (300, 17)])
@pytest.mark.parametrize("kind", ["gaussian", "both:0.5", "columns:1", "t5", "sparse", "huge"])
def test_ends_of_noise_are_lapacks(whole, shape, kind):
    rng = np.random.default_rng([3, *shape])
    for _ in range(4):
        x = ensembles.noise(kind, rng, *shape)
        gram = x.T @ x
        low, high = extremes.ends(gram, shape[0] / shape[1])
        values = np.linalg.eigvalsh(gram)
        assert high == pytest.approx(values[-1], rel=1e-11)
        assert low == pytest.approx(values[0], rel=1e-10 + 20 * EPS * values[-1] / values[0])
    assert not whole


@pytest.mark.parametrize("aspect", [1.0, 4.0])
@pytest.mark.parametrize("close", [1e-3, 1e-6, 1e-9, 0.0])
def test_values_that_lie_close_together_at_the_ends(whole, close, aspect):
    values = np.linspace(1, 2, 200)
    values[:4], values[-4:] = 0.9 * (1 + close * np.arange(4)), 2.1 * (1 + close * np.arange(-3, 1))
    found = extremes.ends(with_values(values), aspect)
    # the residual tells nothing of values nearer than itself: then any of them will do
    np.testing.assert_allclose(found, (0.9, 2.1), rtol=max(1e-11, 3 * close if close < 1e-7 else 0))
    assert not whole


def test_a_spectrum_of_few_values_ends_the_recurrence_early(whole):
    np.testing.assert_allclose(extremes.ends(np.eye(80)), (1, 1), rtol=1e-12)
    np.testing.assert_allclose(extremes.ends(with_values(np.repeat([1.0, 2.0, 5.0], 30))), (1, 5), rtol=1e-12)
    assert not whole


@pytest.mark.parametrize("aspect", [1.0, 4.0])
def test_without_full_rank_the_smallest_is_rounding(whole, aspect):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 60))
    x[:, 7] = 0
    for gram in (x.T @ x, with_values(np.r_[np.zeros(20), np.linspace(1, 2, 40)]), np.zeros((60, 60))):
        low, high = extremes.ends(gram, aspect)
        assert high == pytest.approx(np.linalg.eigvalsh(gram)[-1], rel=1e-11)
        assert abs(low) <= 100 * EPS * high
    assert whole


@pytest.mark.parametrize("condition", [1e4, 1e8, 1e12])
def test_ill_conditioned_gram_matrices(whole, condition):
    gram = with_values(np.geomspace(1 / condition, 1, 120))
    low, high = extremes.ends(gram)
    assert high == pytest.approx(1, rel=1e-11)
    assert low == pytest.approx(1 / condition, rel=1e-10 + 100 * EPS * condition)
    assert not whole


def test_what_does_not_converge_is_decomposed_whole(whole, monkeypatch):
    monkeypatch.setattr(extremes, "_MOST", 8)
    gram = with_values(np.linspace(1, 2, 100))
    np.testing.assert_allclose(extremes.ends(gram), (1, 2), rtol=1e-12)
    assert len(whole) == 1


def test_large_matrices_are_not_decomposed_whole(monkeypatch):
    x = np.random.default_rng(1).standard_normal((640, extremes.LEAST_SIDE)).astype(np.float32).astype(np.float64)
    gram = x.T @ x
    values = np.linalg.eigvalsh(gram)
    monkeypatch.setattr(np.linalg, "eigvalsh", None)
    np.testing.assert_allclose(extremes.ends(gram, 640 / len(gram)), values[[0, -1]], rtol=1e-10)
    with pytest.raises(TypeError):  # below, all are as cheap
        extremes.ends(gram[:99, :99])
