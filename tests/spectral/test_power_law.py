"""Power-law fits: WeightWatcher's numbers, slow versions of both methods, known exponents, degenerate spectra."""

import jax
import numpy as np
import pytest

from eigensweep.engine.spectral import power_law
from eigensweep.engine.spectral.measures import measures
from eigensweep.engine.spectral.power_law import fit


def padded(evals, size=384):
    """With zeros, which count for nothing: one size, so `fit` compiles once a method."""
    return np.concatenate([evals, np.zeros(size - len(evals))])


def golden_eigenvalues():
    g = np.random.default_rng(42)
    w = g.standard_normal((600, 300)) * 0.05
    w += 0.02 * np.outer(g.standard_normal(600), g.standard_normal(300))
    return np.linalg.svd(w, compute_uv=False) ** 2


def test_weightwatchers_golden_case():
    found = fit(padded(golden_eigenvalues()), "weightwatcher")
    expected = (3.950609, 2.211316, 0.116370, 0.336253)
    np.testing.assert_allclose(found[:4], expected, rtol=1e-5)
    assert int(found.num_spikes) == 77


MINILM = {  # WeightWatcher 0.7.7's rows: alpha, D, xmin, stable_rank, entropy
    "encoder.layer.0.attention.self.query": (2.459722, 0.084259, 5.298807, 35.815560, 0.847782),
    "encoder.layer.3.intermediate.dense": (3.410460, 0.052755, 10.615148, 28.036158, 0.934308),
    "encoder.layer.5.output.dense": (3.536725, 0.047827, 3.344337, 10.002161, 0.901253),
}


@pytest.mark.parametrize("name", MINILM)
def test_weightwatchers_rows_of_minilm(minilm, name):
    from safetensors import safe_open

    with safe_open(minilm / "model.safetensors", framework="numpy") as file:
        w = file.get_tensor(f"{name}.weight").astype(np.float64)
    s = np.linalg.svd(w, compute_uv=False)
    found, scalars = fit(s**2, "weightwatcher"), measures(s, *w.shape, np.finfo(np.float32).eps)
    alpha, d, xmin, stable_rank, entropy = MINILM[name]
    np.testing.assert_allclose([found.alpha, found.d, found.xmin], [alpha, d, xmin], rtol=1e-5)
    np.testing.assert_allclose([scalars["stable_rank"], scalars["entropy"]], [stable_rank, entropy], rtol=1e-5)


def slow_fit(evals, method):
    """Straight from the formulas, a loop over the candidates."""
    cut = 1e-5 if method == "weightwatcher" else evals.max() * (384 * 2.0**-52) ** 2
    x = np.sort(evals[evals > cut])
    small = method == "weightwatcher" and len(x) < 20
    best = (np.inf, np.nan, np.nan, np.nan, 0)
    for i in range(len(x) - 1):
        tail = x[i:]
        n = len(tail)
        if n < (8 if small else 2 if method == "weightwatcher" else 10) or tail[0] == tail[-1]:
            continue
        if method == "default" and i > 0 and x[i - 1] == x[i]:
            continue
        alpha = 1 + (n - small) / np.sum(np.log(tail / tail[0]))
        cdf = 1 - (tail / tail[0]) ** (1 - alpha)
        grid = np.arange(n) / n
        d = np.max(np.abs(cdf - grid))
        if method == "default":
            d = max(d, np.max(np.abs(cdf - grid - 1 / n)))
        d = d if alpha > 1 else 1.0
        if d < best[0]:
            best = (d, alpha, tail[0], (alpha - 1) / np.sqrt(n), np.sum(x >= tail[0]))
    d = best[0] if np.isfinite(best[0]) else np.nan
    return best[1], best[2], d, best[3], best[4]


@pytest.mark.parametrize("method", power_law.METHODS)
@pytest.mark.parametrize("size", [2, 5, 12, 19, 20, 33, 150])
def test_slow_version(size, method):
    rng = np.random.default_rng(size)
    for evals in (rng.pareto(2.0, size) + 1, rng.random(size), np.exp(3 * rng.standard_normal(size))):
        if method == "weightwatcher" and size < power_law.SMALL_TAIL:
            continue
        found = fit(rng.permutation(padded(evals)), method)
        np.testing.assert_allclose(found, slow_fit(evals, method), rtol=1e-9)


def test_blocks_do_not_show(monkeypatch):
    evals = np.random.default_rng(0).pareto(1.5, 70) + 1
    expected = slow_fit(evals, "default")
    for block in (7, 1000):
        monkeypatch.setattr(power_law, "BLOCK", block)
        jax.clear_caches()
        np.testing.assert_allclose(fit(evals), expected, rtol=1e-9)
    jax.clear_caches()


def test_known_exponent_and_tail():
    """A power law with alpha = 3 above 1, noise below: exponent within three standard errors, tail found."""
    rng = np.random.default_rng(1)
    evals = np.concatenate([rng.random(84), (1 - rng.random(300)) ** (-1 / 2)])
    found = fit(evals)
    assert abs(found.alpha - 3) < 3 * found.sigma
    assert 0.8 < found.xmin < 2
    assert found.d < 0.06
    assert int(found.num_spikes) == np.sum(evals >= found.xmin)


def test_default_knows_no_scale():
    evals = padded(golden_eigenvalues())
    base, scaled = fit(evals), fit(1e-9 * evals)
    assert float(scaled.alpha) == pytest.approx(float(base.alpha), rel=1e-9)
    assert float(scaled.xmin) == pytest.approx(1e-9 * float(base.xmin), rel=1e-9)
    cut = fit(1e-6 * evals, "weightwatcher")
    assert np.isnan(cut.alpha) or abs(cut.alpha - base.alpha) > 0.1


def test_what_is_no_eigenvalue_is_left_out():
    evals = np.random.default_rng(2).pareto(2.0, 40) + 1
    others = np.concatenate([evals, [0.0, np.nan, -1e-18, 1e-30 * evals.max()]])
    for method in power_law.METHODS:
        np.testing.assert_allclose(fit(padded(others), method), slow_fit(evals, method), rtol=1e-9)


@pytest.mark.parametrize("method", power_law.METHODS)
@pytest.mark.parametrize("evals", [np.zeros(6), np.array([4.0]), np.array([3.0, 0, 0]), np.full(5, np.nan)])
def test_no_tail(evals, method):
    found = fit(padded(evals), method)
    assert np.isnan([found.alpha, found.xmin, found.d, found.sigma]).all()
    assert int(found.num_spikes) == 0


def test_batches_and_misuse():
    evals = np.random.default_rng(3).pareto(2.0, (4, 60)) + 1
    found = jax.vmap(fit)(evals)
    for i, row in enumerate(evals):
        np.testing.assert_allclose([x[i] for x in found], slow_fit(row, "default"), rtol=1e-9)
    with pytest.raises(ValueError, match="'mle': expected one of default, weightwatcher"):
        fit(evals[0], "mle")


@pytest.mark.parametrize("method", power_law.METHODS)
def test_ties(method):
    """Rounded values, a tie at the top (whose tail has no exponent), few distinct values: finite, as slowly."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.pareto(2.0, 60) + 1, np.full(12, 40.0)])
    for evals in (np.round(values, 1), values, np.repeat([1.0, 2.0, 5.0, 9.0], 20)):
        found = fit(rng.permutation(padded(evals)), method)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, slow_fit(evals, method), rtol=1e-9)
    equal = fit(padded(np.full(50, 3.0)), method)
    assert np.isnan(equal[:4]).all()
    assert int(equal.num_spikes) == 0


def test_default_takes_a_tail_of_ten_at_least():
    rng = np.random.default_rng(5)
    assert np.isnan(fit(padded(rng.pareto(2.0, 9) + 1)).alpha)
    assert np.isfinite(fit(padded(rng.pareto(2.0, 10) + 1)).alpha)
    noise = np.linalg.svd(rng.standard_normal((20, 96, 96)), compute_uv=False) ** 2
    found = jax.vmap(fit)(np.concatenate([noise, np.zeros((20, 288))], axis=1))
    assert (found.num_spikes >= power_law.MIN_TAIL).all()
    assert np.isfinite(found.alpha).all()
