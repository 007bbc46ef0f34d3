"""Ridgeless least squares: the simulation against NumPy's, its noise and its law against closed forms."""

import jax
import numpy as np
import pytest

from eigensweep.engine.spectral import least_squares
from eigensweep.engine.spectral.covariances import eigenvalues
from eigensweep.engine.spectral.generalised_law import SingularLaw
from eigensweep.engine.spectral.least_squares import CHUNK, Model

D, M, NUM = 40, 80, 40  # of one shape all, because a program takes seconds to compile
POWER = eigenvalues("power:1", D)


def keys(first=0, num=NUM):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(np.arange(first, first + num))


def fit(model, samples, first=0):
    return [np.asarray(x) for x in least_squares.fit(keys(first), model, samples)]


def drawn(key, evals, samples):
    """The data and the noise of one simulation, as `fit` draws them."""
    chunks = range(1, 1 - (-samples // CHUNK))
    z = np.concatenate([jax.random.normal(jax.random.fold_in(key, i), (CHUNK, D + M), np.float64) for i in chunks])
    return np.sqrt(evals) * z[:samples, :D], z[:samples, D:]


def among(s):
    """Mean distance of a simulation's values from those of all others together: what a true law would come to."""
    rank = np.arange(s.shape[1], 0, -1) / s.shape[1]
    found = []
    for i in range(len(s)):
        others = np.sort(np.delete(s, i, 0).ravel())
        f = np.searchsorted(others, s[i], "right") / others.size
        found.append(np.max(np.maximum(rank - f, f - rank + 1 / s.shape[1])))
    return np.mean(found)


def values(model, samples):
    return np.linalg.svd(fit(model, samples)[0], compute_uv=False)


@pytest.mark.parametrize(("rank", "signal"), [(0, 0.0), (5, 0.7), (D, 0.7)])
def test_the_fit_is_least_squares_on_the_drawn_data(rank, signal):
    fitted, true, spread = fit(Model(POWER, M, 0.3, signal, rank), 100)
    x, e = drawn(keys()[3], POWER, 100)
    np.testing.assert_allclose(fitted[3], np.linalg.lstsq(x, x @ true[3].T + 0.3 * e, rcond=None)[0].T, atol=1e-11)
    rest = np.linalg.eigvalsh(spread[3] - 0.3**2 * np.linalg.inv(x.T @ x))
    np.testing.assert_allclose(rest, np.r_[np.zeros(D - rank), np.full(rank, signal**2)], atol=1e-10)
    assert np.linalg.matrix_rank(true[3]) == rank
    size = np.mean(true**2)
    assert size == pytest.approx(signal**2 * rank / D, rel=0.03)


def test_a_simulation_depends_on_its_key_alone_and_more_samples_begin_with_fewer():
    model = Model(POWER, M, 1.0, 0.5, D)
    for ours, theirs in zip(fit(model, 100, 10), fit(model, 100), strict=True):
        np.testing.assert_array_equal(ours[: NUM - 10], theirs[10:])
    few, many = (drawn(keys()[0], POWER, samples)[0] for samples in (100, 300))
    np.testing.assert_array_equal(few, many[:100])


def test_noise_along_each_axis_is_what_the_formula_says():
    model = Model(POWER, M, 2.0, 0.5, D)
    fitted, true, _ = (np.concatenate(x) for x in zip(*(fit(model, 100, 40 * i) for i in range(6)), strict=True))
    seen = np.mean((fitted - true) ** 2, axis=(0, 1))
    np.testing.assert_allclose(seen, least_squares.noise_variance(model, 100), rtol=0.07)
    with pytest.raises(ValueError, match="at least 42"):
        least_squares.noise_variance(model, D + 1)


@pytest.mark.parametrize(("ratio", "other"), [(0.5, 1 / 3), (0.1, 0.8), (2 / 3, 2.0)])
def test_isotropic_data_give_fishers_law(ratio, other):
    """Of (1/m) G^T G (X X^T/N)^-1: edges ((1 -+ h)/(1 - d/N))^2, h^2 = d/N + d/m - d^2/(N m) (Wachter)."""
    d = 240
    samples, m = round(d / ratio), round(d / other)
    law = least_squares.law(Model(np.ones(d), m), samples)
    c1, c2 = d / samples, d / m
    h = np.sqrt(c1 + c2 - c1 * c2)
    low, high = ((1 - h) / (1 - c1)) ** 2, ((1 + h) / (1 - c1)) ** 2
    np.testing.assert_allclose(samples * law.support[[0, -1], [0, 1]], [low, high], rtol=1e-4)
    assert len(law.support) == 1
    x = np.linspace(low, high, 13)[1:-1]
    density = (1 - c1) * np.sqrt((high - x) * (x - low)) / (2 * np.pi * x * (c2 + c1 * x))
    np.testing.assert_allclose(law.pdf(x / samples) / samples, density, rtol=2e-3)


@pytest.mark.parametrize("kind", ["power:1", "spiked:3,15"])
def test_at_twice_as_many_samples_the_law_holds_and_that_of_the_inverse_eigenvalues_does_not(kind):
    model = Model(eigenvalues(kind, D), M)
    s = values(model, 2 * D)
    law, inverse = (SingularLaw(of(model, 2 * D), M) for of in (least_squares.law, least_squares.inverse_law))
    assert law.ks_distance(s).mean() < among(s) + 0.15 / D
    assert inverse.ks_distance(s).mean() > 3 * among(s)
    assert s[:, 0].mean() == pytest.approx(law.support[-1, 1], rel=0.1)
    assert s[:, 0].mean() > 1.5 * inverse.support[-1, 1]


@pytest.mark.parametrize(("signal", "rank"), [(0.2, D), (0.5, 10)])
def test_the_law_takes_w_star_in(signal, rank):
    """All directions: signal^2 added to the population; some: the population of the simulated rows."""
    model = Model(eigenvalues("power:0.7", D), M, 1.0, signal, rank)
    fitted, _, spread = fit(model, 100)
    s = np.linalg.svd(fitted, compute_uv=False)
    near = among(s)
    simulated = least_squares.law_of(np.linalg.eigvalsh(spread), M)
    assert SingularLaw(simulated, M).ks_distance(s).mean() < near + 0.2 / D
    exact = SingularLaw(least_squares.law(model, 100), M).ks_distance(s).mean()
    assert model.is_exact == (rank == D)
    assert exact < near + 0.2 / D if model.is_exact else exact > 1.3 * near


@pytest.mark.parametrize(("signal", "rank"), [(0.0, 0), (0.3, 6)])
def test_isotropic_ratios_have_the_law_of_the_fit(signal, rank):
    model = Model(np.full(D, 3.0), M, 2.0, signal, rank)
    s = np.concatenate([np.linalg.svd(fit(model, 100, 40 * i)[0], compute_uv=False) for i in range(5)])
    ours = np.sort(least_squares.isotropic_ratios(model, 100, [5], 200))
    f = np.searchsorted(np.sort(s[:, -1] / np.median(s, axis=1)), ours, "right") / 200
    assert np.max(np.abs(f - np.arange(1, 201) / 200)) < 1.63 * np.sqrt(2 / 200)  # Smirnov's at level 0.01
    assert least_squares.isotropic_ratios(model, 100, [5], 3).max() in ours


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("identity", [1.0] * 6),
        ("power:1", [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]),
        ("two_level:0.34,9", [9, 9, 1, 1, 1, 1]),
        ("spiked:1,0.5", [1, 1, 1, 1, 1, 0.5]),
        ("list:1,4,2", [4, 4, 2, 2, 1, 1]),
    ],
)
def test_spectra_of_data(kind, expected):
    np.testing.assert_allclose(eigenvalues(kind, 6), expected)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("pwoer:1", "expected one of identity"),
        ("power", "expected one of"),
        ("power:nan", "expected one of"),
        ("power:-1", "between 0 and"),
        ("power:99", "between 0 and"),
        ("two_level:1.5,2", "share"),
        ("two_level:0.5,0", "positive"),
        ("spiked:6,2", "between 1 and 5"),
        ("spiked:1.5,2", "whole number"),
        ("list:1,0", "positive"),
        ("list:1,1e9", "1e8 times"),
        ("list:1,2,3,4,5,6,7", "7 values for 6"),
    ],
)
def test_what_is_no_covariance_is_refused(kind, says):
    with pytest.raises(ValueError, match=says):
        eigenvalues(kind, 6)
