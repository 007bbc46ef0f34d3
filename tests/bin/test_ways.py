"""Ways that a device may take, against LAPACK and the engine's own: right at every spectrum, and lowered for CUDA."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigensweep.bin.suites import eigenproblem
from eigensweep.bin.suites.ways import divide, jacobi, kolmogorov, lanczos
from eigensweep.engine.spectral import controls, extremes, ks

EPS = np.finfo(float).eps
N = 96
QUICKLY = {"xla_backend_optimization_level": 0}  # compiling is most of what these tests take
RNG = np.random.default_rng(0)
GAUSSIAN = RNG.standard_normal((N, N))


def with_values(values):
    q = np.linalg.qr(np.random.default_rng(len(values)).standard_normal((len(values),) * 2))[0]
    h = (q * values) @ q.T
    return (h + h.T) / 2


SPECTRA = {
    "Gram matrix": GAUSSIAN.T @ GAUSSIAN,
    "spikes": GAUSSIAN.T @ GAUSSIAN + with_values(np.r_[np.zeros(N - 4), 1e3, 1e4, 1e6, 1e7]),
    "rank deficient": GAUSSIAN[:, :30] @ GAUSSIAN[:, :30].T,
    "zero columns": (GAUSSIAN * (np.arange(N) < 40)).T @ (GAUSSIAN * (np.arange(N) < 40)),
    "four values": with_values(np.repeat([1.0, 2.0, 2.0 + 1e-13, 5.0], N // 4)),
    "a cluster of width 1e-8": with_values(1 + 1e-8 * RNG.standard_normal(N)),
    "a power law": with_values(np.arange(1.0, N + 1) ** -3),
    "condition 1e20": with_values(np.geomspace(1e-20, 1, N)),
    "both signs": with_values(RNG.standard_normal(N)),
    "diagonal": np.diag(np.arange(1.0, N + 1)),
    "identity": np.eye(N),
    "zero": np.zeros((N, N)),
    "tiny": 1e-120 * (GAUSSIAN.T @ GAUSSIAN),
}


@pytest.fixture(scope="module")
def divided_by_cholesky():
    return jax.jit(partial(divide.eigh, least=24, smallest=1e-3, cutoff=np.inf), compiler_options=QUICKLY)


@pytest.fixture(scope="module")
def divided_by_qr():
    return jax.jit(partial(divide.eigh, least=24), compiler_options=QUICKLY)


@pytest.mark.parametrize("name", SPECTRA)
def test_divide_and_conquer_solves_every_spectrum(name, divided_by_qr):
    h = SPECTRA[name]
    values, v = map(np.asarray, divided_by_qr(jnp.asarray(h)))
    norm = np.linalg.norm(h)
    assert np.linalg.norm(h @ v - v * values) <= N * EPS * norm
    np.testing.assert_allclose(v.T @ v, np.eye(N), atol=N * EPS)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(h), atol=N * EPS * norm)


@pytest.mark.parametrize("name", ["Gram matrix", "four values", "rank deficient", "condition 1e20", "spikes"])
def test_divide_and_conquer_by_cholesky_factors_is_a_little_less_exact(name, divided_by_cholesky):
    h = SPECTRA[name]
    values, v = map(np.asarray, divided_by_cholesky(jnp.asarray(h)))
    norm = np.linalg.norm(h)
    assert np.linalg.norm(h @ v - v * values) <= 1e4 * EPS * norm
    np.testing.assert_allclose(v.T @ v, np.eye(N), atol=N * EPS)


def test_divide_and_conquer_that_cannot_split_gives_nan_and_ends(divided_by_qr):
    values, v = divided_by_qr(jnp.asarray(np.full((N, N), np.nan)))
    assert np.isnan(values).all()
    assert np.isnan(v).all()


@pytest.mark.parametrize("spectrum", ["plain", "condition 1e8", "rank 20"])
def test_block_jacobi_is_lapack(spectrum):
    rng = np.random.default_rng(1)
    w = rng.standard_normal((60, 44))
    if spectrum == "condition 1e8":
        u, v = np.linalg.qr(w)[0], np.linalg.qr(rng.standard_normal((44, 44)))[0]
        w = (u * np.geomspace(1, 1e-8, 44)) @ v
    w = w * (np.arange(44) < 20) if spectrum == "rank 20" else w
    s, v = map(np.asarray, jacobi.right_vectors(jnp.asarray(w), side=8))
    exact = np.linalg.svd(w, compute_uv=False)
    np.testing.assert_allclose(s, exact, atol=50 * EPS * exact[0])
    assert np.linalg.norm(w - (w @ v) @ v.T) <= 1e-12 * exact[0]
    known = exact > 1e-10 * exact[0]
    np.testing.assert_allclose(v.T[known] @ v[:, known], np.eye(known.sum()), atol=1e-10)


def test_lanczos_on_a_device_finds_the_hosts_ends_or_says_that_it_cannot():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((N, N))
    packed = np.stack([controls.packed_bits(rng, x.size) for _ in range(3)])
    found = np.asarray(lanczos.flip_ends(jnp.asarray(x), packed))
    flips = [controls.flip(x, bits) for bits in packed]
    grams = [flip.T @ flip for flip in flips]
    np.testing.assert_allclose(found[:, ::-1], [extremes.ends(g) for g in grams], rtol=1e-6)
    np.testing.assert_allclose(found[:, 0], [np.linalg.eigvalsh(g)[-1] for g in grams], rtol=1e-12)
    exact = np.array([np.linalg.svd(flip, compute_uv=False)[-1] ** 2 for flip in flips])
    assert (np.abs(found[:, 1] / exact - 1) <= 10 * EPS * found[:, 0] / exact + 1e-11).all()
    x[:, 7] = 0  # no Cholesky factor
    found = np.asarray(lanczos.flip_ends(jnp.asarray(x), packed))
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, 0]).all()


def test_ks_statistics_without_a_sort_are_those_of_the_sort():
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_normal(301), rng.standard_t(2, 301), np.eye(301)[5], np.repeat(0.0, 301), np.ones(301)])
    x /= np.maximum(np.linalg.norm(x, axis=1), 1)[:, None]
    x = np.concatenate([x, [np.where(np.arange(301) == 9, np.nan, x[0])]])
    exact = ks.ks_statistic(x)
    np.testing.assert_allclose(kolmogorov.without_sort(jnp.asarray(x)), exact, rtol=0, atol=4 * EPS)
    keys = np.asarray(kolmogorov.by_float32_keys(jnp.asarray(x)))
    np.testing.assert_allclose(keys, exact, rtol=0, atol=1.5e-8)
    assert not np.allclose(keys, exact, rtol=0, atol=1e-12, equal_nan=True)  # not the same numbers


@pytest.mark.parametrize("way", eigenproblem.ways())
def test_every_way_is_lowered_for_cuda(way):
    w = jax.ShapeDtypeStruct((320, 320), jnp.float64)
    lowered = jax.jit(eigenproblem.ways()[way]).trace(w).lower(lowering_platforms=("cuda",)).as_text()
    assert "cusolver" in lowered
    assert "lapack" not in lowered


def test_the_other_candidates_are_lowered_for_cuda():
    x = jax.ShapeDtypeStruct((64, 64), jnp.float64)
    bits = jax.ShapeDtypeStruct((7, 512), jnp.uint8)
    for function, arguments in (
        (lanczos.flip_ends, (x, bits)),
        (partial(divide.eigh, least=24), (x,)),
        (kolmogorov.by_float32_keys, (x,)),
        (kolmogorov.without_sort, (x,)),
    ):
        lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
        assert "lapack" not in lowered
