"""Measures against the formulas in plain NumPy, WeightWatcher's golden case, scale, degenerate spectra."""

import chex
import jax
import numpy as np
import pytest

from eigensweep.engine.spectral.measures import alpha_weighted, log_alpha_norm, measures, shannon_entropy

EPS = float(np.finfo(np.float32).eps)


def golden_singular_values():
    g = np.random.default_rng(42)
    w = g.standard_normal((600, 300)) * 0.05
    w += 0.02 * np.outer(g.standard_normal(600), g.standard_normal(300))
    return np.linalg.svd(w, compute_uv=False)


def test_weightwatchers_golden_case():
    found = measures(golden_singular_values(), 600, 300, EPS)
    expected = {"norm": 521.374371, "spectral_norm": 71.009382, "stable_rank": 7.342331, "entropy": 0.895586}
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-5), name
    assert int(found["hard_rank"]) == 300
    assert float(alpha_weighted(3.950609, found["spectral_norm"])) == pytest.approx(7.313824, rel=1e-6)
    assert float(log_alpha_norm(golden_singular_values(), 3.950609)) == pytest.approx(7.313994, rel=1e-6)


def slow_measures(s, m, n, eps):
    lam = s**2
    rank = int(np.sum(s > s.max() * max(m, n) * eps))
    p = lam[lam > 0] / lam.sum()
    q = s[s > 0] / s.sum()
    return {
        "hard_rank": rank,
        "norm": lam.sum(),
        "frobenius_norm": np.sqrt(lam.sum()),
        "spectral_norm": lam.max(),
        "log_norm": np.log10(lam.sum()),
        "log_spectral_norm": np.log10(lam.max()),
        "stable_rank": lam.sum() / lam.max(),
        "entropy": -np.sum(p * np.log(p)) / np.log(rank) if rank > 1 else 0.0,
        "effective_rank": np.exp(-np.sum(q * np.log(q))),
        "participation": lam.sum() ** 2 / np.sum(lam**2),
        "condition": s.max() / s.min() if rank == s.size else np.inf,
    }


SPECTRA = {
    "gaussian": np.linalg.svd(np.random.default_rng(0).standard_normal((40, 30)), compute_uv=False),
    "flat": np.ones(30),
    "one value": np.array([2.5]),
    "rank 8": np.concatenate([np.linspace(5, 1, 8), np.full(22, 1e-15)]),
    "rank 1": np.concatenate([[3.0], np.zeros(29)]),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_formulas(name):
    s = SPECTRA[name]
    with np.errstate(all="ignore"):
        expected = slow_measures(s, 40, 30, EPS)
    found = {k: float(v) for k, v in measures(s, 40, 30, EPS).items()}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-12, abs=1e-14), key


def test_scale_changes_norms_only():
    s = SPECTRA["gaussian"]
    small, large = measures(s, 40, 30, EPS), measures(1e150 * s, 40, 30, EPS)
    for key in ("hard_rank", "stable_rank", "entropy", "effective_rank", "participation", "condition"):
        assert float(large[key]) == pytest.approx(float(small[key]), rel=1e-12)
    assert float(large["frobenius_norm"]) == pytest.approx(1e150 * float(small["frobenius_norm"]), rel=1e-12)
    assert float(log_alpha_norm(1e100 * s, 4.0)) == pytest.approx(800 + float(log_alpha_norm(s, 4.0)), rel=1e-12)


def test_zero_matrix():
    found = measures(np.zeros(5), 5, 7, EPS)
    assert int(found["hard_rank"]) == 0
    assert float(found["norm"]) == float(found["frobenius_norm"]) == float(found["spectral_norm"]) == 0
    assert float(found["log_norm"]) == -np.inf
    for key in ("stable_rank", "effective_rank", "participation", "condition"):
        assert np.isnan(found[key]), key


def test_hard_rank_follows_the_stored_dtype():
    s = np.array([1.0, 1e-3, 1e-6, 1e-9, 1e-16])
    assert int(measures(s, 5, 5, float(np.finfo(np.float32).eps))["hard_rank"]) == 3
    assert int(measures(s, 5, 5, float(np.finfo(np.float64).eps))["hard_rank"]) == 4


def test_one_compilation_serves_all_shapes_and_batches():
    @chex.assert_max_traces(n=1)
    def traced(s, m, n, eps):
        return jax.vmap(measures, (0, None, None, None))(s, m, n, eps)

    compiled = jax.jit(traced)
    s = np.stack([SPECTRA["gaussian"], SPECTRA["rank 8"]])
    for m, n, eps in ((40, 30, EPS), (30, 4000, EPS), (40, 30, 1e-9)):
        found = compiled(s, m, n, eps)
        for i in range(2):
            assert int(found["hard_rank"][i]) == slow_measures(s[i], m, n, eps)["hard_rank"]


def test_what_is_no_spectrum_is_refused():
    with pytest.raises(AssertionError, match="of one matrix"):
        measures(np.ones((2, 5)), 5, 5, EPS)


def test_entropy_of_equal_weights():
    assert float(shannon_entropy(np.full(8, 3.0))) == pytest.approx(np.log(8), rel=1e-14)
    assert float(shannon_entropy(np.array([0.0, 5.0]))) == 0
