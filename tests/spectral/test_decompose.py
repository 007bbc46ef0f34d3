"""Every strategy on every kind of matrix: reconstruction, orthogonality, order, singular values, one by one."""

import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from eigensweep.engine.spectral.svd import Decomposition, auto, choose, decompose, device, is_streamed, lapack
from eigensweep.engine.spectral.svd.accuracy import measure_errors

EPS = np.finfo(np.float64).eps
STRATEGIES = ("lapack", "gram", "polar", "direct")


def with_condition(m, n, condition, seed=0):
    """Matrix (m, n) with singular values spaced evenly in the logarithm from 1 to 1/condition."""
    rng = np.random.default_rng(seed)
    b = min(m, n)
    u, v = (np.linalg.qr(rng.standard_normal((k, b)))[0] for k in (m, n))
    return (u * np.logspace(0, -np.log10(condition), b)) @ v.T


def low_rank(m, n, rank, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))).astype(dtype)


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def zero_columns(m, n, count):
    w = gaussian(m, n)
    w[:, :count] = 0
    return w


def first_entry_only(m, n):
    w = np.zeros((m, n))
    w[0, 0] = 3.0
    return w


N = 30  # one shape for all: a strategy then compiles once
SQUARES = {
    "gaussian": gaussian(N, N),
    "condition 1e2": with_condition(N, N, 1e2),
    "condition 1e4": with_condition(N, N, 1e4),
    "condition 1e6": with_condition(N, N, 1e6),
    "condition 1e8": with_condition(N, N, 1e8),
    "condition 1e12": with_condition(N, N, 1e12),
    "condition 1e30": with_condition(N, N, 1e30),
    "rank 3": low_rank(N, N, 3),
    "rank 3 in float32": low_rank(N, N, 3, np.float32),
    "zero columns": zero_columns(N, N, 5),
    "zero rows": zero_columns(N, N, 5).T,
    "zero": np.zeros((N, N)),
    "one entry": first_entry_only(N, N),
    "ones": np.ones((N, N)),
    "identity": np.eye(N),
    "tiny": 1e-290 * gaussian(N, N),
    "huge": 1e290 * gaussian(N, N),
    "largest": np.diag([1.7e308, *np.full(N - 1, 1e300)]),
}
RECTANGLES = {
    "tall": gaussian(70, 30),
    "wide": gaussian(30, 70),
    "tall, condition 1e8": with_condition(60, 40, 1e8),
    "wide, rank 3": low_rank(50, 60, 3, np.float32),
    "tall, zero columns": zero_columns(50, 40, 5),
    "wide, zero rows": zero_columns(50, 40, 5).T,
    "zero": np.zeros((12, 9)),
    "row": gaussian(1, 20),
    "column": gaussian(20, 1),
    "scalar": np.array([[-2.0]]),
}


def check(w, u, s, vt):
    """Shapes, dtypes, order, singular values against LAPACK's, reconstruction, orthogonality."""
    w = w.astype(np.float64)
    b = min(w.shape)
    unit = s[0] if s[0] > 0 else 1.0
    assert (u.shape, s.shape, vt.shape) == ((w.shape[0], b), (b,), (b, w.shape[1]))
    assert u.dtype == s.dtype == vt.dtype == np.float64
    assert np.all(np.diff(s) <= 0)
    assert np.all(s >= 0)
    np.testing.assert_allclose(s / unit, np.linalg.svd(w / unit, compute_uv=False), atol=2e-14)
    np.testing.assert_allclose((u * (s / unit)) @ vt, w / unit, atol=1e-9)
    np.testing.assert_allclose(u.T @ u, np.eye(b), atol=1e-8)
    np.testing.assert_allclose(vt @ vt.T, np.eye(b), atol=1e-12)


@pytest.fixture(scope="module")
def squares():
    """Each strategy's answer to all of SQUARES, decomposed as one batch."""
    batch = np.stack(list(SQUARES.values()))
    return {strategy: decompose(batch, strategy) for strategy in STRATEGIES}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", SQUARES)
def test_square_matrices(squares, name, strategy):
    found, i = squares[strategy], list(SQUARES).index(name)
    check(SQUARES[name], *(np.asarray(x[i]) for x in found[:3]))
    assert found.residual[i] < 1e-10
    assert found.orthogonality[i] < 1e-8


@pytest.mark.parametrize("name", SQUARES)
def test_host_route_needs_no_help(squares, name):
    """The host's Gram route holds tight tolerances at every condition number and rank: nothing falls back."""
    found, i = squares["lapack"], list(SQUARES).index(name)
    assert found.strategy[i] == "lapack"
    u, s, vt = found.u[i], found.s[i], found.vt[i]
    np.testing.assert_allclose(u.T @ u, np.eye(N), atol=1e-10)
    unit = s[0] if s[0] > 0 else 1.0
    np.testing.assert_allclose((u * (s / unit)) @ vt, SQUARES[name] / unit, atol=1e-12)


@pytest.mark.parametrize("name", RECTANGLES)
def test_rectangles_on_the_host(name):
    w = RECTANGLES[name]
    found = decompose(w[None], "lapack")
    assert found.strategy == ("lapack",)
    check(w, *(x[0] for x in found[:3]))


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("shape", [(12, 7), (7, 12)])
def test_rectangles_on_devices(shape, strategy):
    w = np.stack([gaussian(*shape), low_rank(*shape, 3), zero_columns(*shape, 2)])
    found = decompose(w, strategy)
    assert set(found.strategy) <= {strategy, "lapack"}  # what the tolerances refuse is repaired on the host
    for x, u, s, vt in zip(w, *(np.asarray(y) for y in found[:3]), strict=True):
        check(x, u, s, vt)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_values_only(strategy):
    found = decompose(np.stack(list(SQUARES.values())), strategy, vectors=False)
    assert found.u is None
    assert found.vt is None
    for w, s in zip(SQUARES.values(), np.asarray(found.s), strict=True):
        unit = s[0] if s[0] > 0 else 1.0
        np.testing.assert_allclose(s / unit, np.linalg.svd(w / unit, compute_uv=False), atol=1e-9)


def test_small_singular_values_are_relatively_accurate():
    """A hundred times float32's accuracy and more: the error is eps * cond, not eps * cond^2."""
    expected = np.logspace(0, -5, 80)
    s = decompose(with_condition(80, 80, 1e5)[None], "lapack").s[0]
    assert np.max(np.abs(s / expected - 1)) < 100 * EPS * 1e5
    float32 = np.linalg.svd(with_condition(80, 80, 1e5).astype(np.float32).astype(np.float64), compute_uv=False)
    assert abs(s[-1] / expected[-1] - 1) < 0.01 * abs(float32[-1] / expected[-1] - 1)


def test_ill_conditioned_matrices_alone_are_escalated():
    batch = np.stack([gaussian(N, N), with_condition(N, N, 1e12), gaussian(N, N, seed=1)])
    assert decompose(batch, "lapack", vectors=False).strategy == ("lapack", "direct", "lapack")
    found = decompose(batch, "gram")
    assert found.strategy == ("gram", "lapack", "gram")
    for w, u, s, vt in zip(batch, *(np.asarray(x) for x in found[:3]), strict=True):
        np.testing.assert_allclose((u * s) @ vt, w, atol=1e-12 * s[0])


@pytest.mark.parametrize("strategy", ["gram", "polar"])
def test_a_matrix_does_not_depend_on_its_neighbours(strategy):
    """As an accelerator takes a batch, all at once: the ill-conditioned one takes another branch, alone."""
    batch = np.stack([gaussian(N, N), with_condition(N, N, 1e12), with_condition(N, N, 1e4), np.zeros((N, N))])
    together = device._svd_batch(jnp.asarray(batch), strategy, True)
    for i in range(len(batch)):
        alone = device._svd_batch(jnp.asarray(batch[i : i + 1]), strategy, True)
        for whole, single in zip(together[:3], alone[:3], strict=True):
            np.testing.assert_array_equal(whole[i], single[0])


def test_escalation_follows_the_measured_errors(monkeypatch):
    monkeypatch.setattr(auto, "MAX_RESIDUAL", 0.0)
    for strategy in ("lapack", "gram"):
        assert decompose(gaussian(2, 12, 7), strategy).strategy == ("direct", "direct")


@pytest.mark.parametrize(
    ("strategy", "vectors"), [("lapack", True), ("lapack", False), ("gram", True), ("polar", True)]
)
def test_non_finite_gives_nan_and_spares_its_neighbours(strategy, vectors):
    batch = gaussian(4, 12, 7)
    batch[1, 2, 3] = np.nan
    batch[2, 0, 0] = -np.inf
    found = decompose(batch, strategy, vectors)
    s = np.asarray(found.s)
    assert np.isnan(s[1:3]).all()
    np.testing.assert_allclose(s[[0, 3]], np.linalg.svd(batch[[0, 3]], compute_uv=False), rtol=1e-12)
    if vectors:
        assert np.isnan(np.asarray(found.u)[1:3]).all()
        assert np.isnan(np.asarray(found.vt)[1:3]).all()
        assert np.isnan(np.asarray(found.residual)[1:3]).all()
        assert np.isfinite(np.asarray(found.orthogonality)[[0, 3]]).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 5, 0), (0, 4, 5), (1, 0, 0)])
def test_empty(strategy, shape):
    found = decompose(np.zeros(shape), strategy)
    batch, m, n = shape
    b = min(m, n)
    assert (found.u.shape, found.s.shape, found.vt.shape) == ((batch, m, b), (batch, b), (batch, b, n))
    assert len(found.strategy) == batch
    assert decompose(np.zeros(shape), strategy, vectors=False).s.shape == (batch, b)


@pytest.mark.parametrize(
    ("strategy", "dtype"),
    [*(("lapack", d) for d in (ml_dtypes.bfloat16, np.float16, np.float32)), ("gram", ml_dtypes.bfloat16)],
)
def test_every_float_dtype_is_decomposed_in_float64(strategy, dtype):
    w = gaussian(2, 8, 6).astype(dtype)
    found = decompose(w, strategy)
    expected = np.linalg.svd(w.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(np.asarray(found.s), expected, rtol=1e-12)


def test_jax_arrays_and_threads_give_the_same():
    w = gaussian(5, 30, 20).astype(np.float32)
    one, two = decompose(w, "lapack", workers=1), decompose(jnp.asarray(w), "lapack", workers=2)
    np.testing.assert_allclose(one.s, two.s, rtol=1e-13)
    np.testing.assert_allclose(np.abs(one.vt), np.abs(two.vt), atol=1e-11)


def test_few_large_matrices_go_one_after_another(monkeypatch):
    monkeypatch.setattr(auto, "LARGE", 10)
    w = gaussian(2, 20, 15)
    np.testing.assert_allclose(decompose(w, "lapack", workers=3).s, np.linalg.svd(w, compute_uv=False), rtol=1e-12)


def no_convergence(*args, **kwargs):
    raise np.linalg.LinAlgError("did not converge")


@pytest.mark.parametrize("strategy", ["lapack", "streamed"])
@pytest.mark.parametrize("vectors", [True, False])
def test_where_the_gram_route_does_not_converge_gesdd_does(monkeypatch, strategy, vectors):
    monkeypatch.setattr(np.linalg, "eigh", no_convergence)
    monkeypatch.setattr(np.linalg, "eigvalsh", no_convergence)
    w = gaussian(2, 9, 6)
    w[1, 0, 0] = np.nan
    found = decompose(w, strategy, vectors)
    np.testing.assert_allclose(found.s[0], np.linalg.svd(w[0], compute_uv=False), rtol=1e-12)
    if vectors:
        check(w[0], found.u[0], found.s[0], found.vt[0])
    assert np.isnan(found.s[1]).all()
    if strategy == "lapack":
        assert found.strategy == ("direct", "lapack")  # what is not finite is not tried again


@pytest.mark.parametrize("strategy", ["lapack", "streamed"])
def test_where_nothing_converges_the_result_is_nan(monkeypatch, strategy):
    monkeypatch.setattr(np.linalg, "eigh", no_convergence)
    monkeypatch.setattr(np.linalg, "svd", no_convergence)
    found = decompose(gaussian(1, 5, 4), strategy)
    assert found.strategy == ("direct",)
    assert all(np.isnan(x).all() for x in found[:5])


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("strategy", ["gram", "polar", "direct"])
def test_nan_from_a_device_is_decomposed_again_on_the_host(monkeypatch, strategy, vectors):
    def spoilt(f):
        return lambda *args, **kwargs: jax.tree.map(lambda x: x * jnp.nan, f(*args, **kwargs))

    for name in ("eigh", "eigvalsh", "svd"):
        monkeypatch.setattr(jnp.linalg, name, spoilt(getattr(jnp.linalg, name)))
    device._jitted.cache_clear()
    try:
        w = gaussian(3, 9, 6)
        w[1, 0, 0] = np.inf
        found = decompose(w, strategy, vectors)
    finally:
        device._jitted.cache_clear()
    assert found.strategy == ("lapack", strategy, "lapack")
    for i in (0, 2):
        np.testing.assert_allclose(found.s[i], np.linalg.svd(w[i], compute_uv=False), rtol=1e-12)
        if vectors:
            check(w[i], *(np.asarray(x[i]) for x in found[:3]))
            assert found.residual[i] < 1e-12
    assert np.isnan(found.s[1]).all()


@pytest.mark.parametrize("shape", [(128256, 4096), (4096, 128256)])
def test_what_is_streamed_depends_on_the_shape(shape):
    assert is_streamed(shape)
    assert not is_streamed(shape, "lapack")
    assert not is_streamed((4096, 14336))
    assert is_streamed((4, 4), "streamed")
    assert auto.working_bytes(shape) < 3 * 2**30 < auto.working_bytes((4096, 14336)) * 2


def test_choice_and_misuse():
    assert [choose("auto", b) for b in ("cpu", "gpu", "tpu")] == ["lapack", "gram", "polar"]
    assert choose("direct", "gpu") == "direct"
    assert decompose(gaussian(1, 3, 3)).strategy == (choose("auto", jax.default_backend()),)
    with pytest.raises(ValueError, match="'qr': expected one of auto, lapack"):
        decompose(gaussian(1, 3, 3), "qr")
    with pytest.raises(ValueError, match=r"shape \(3, 3\): expected \(batch, m, n\)"):
        decompose(gaussian(3, 3))


def test_probes_measure_the_true_errors():
    """Within a factor of 3 of the definitions, on decompositions spoilt on purpose."""
    w = gaussian(60, 40)
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    for size in (1e-9, 1e-4):
        spoilt = u + size * gaussian(60, 40, seed=1) / np.sqrt(60)
        residual, orthogonality = measure_errors(w, spoilt, s, vt)
        true_residual = np.linalg.norm(w - (spoilt * s) @ vt) / np.linalg.norm(w)
        error = np.abs(spoilt.T @ spoilt - np.eye(40))
        assert 1 / 3 < residual / true_residual < 3
        assert np.max(error) / 2 < orthogonality < 10 * np.max(error)
    one_pair = u.copy()
    one_pair[:, 7] += 1e-6 * u[:, 3]
    assert 3e-7 < measure_errors(w, one_pair, s, vt)[1] < 1e-5


def test_no_warnings_from_the_host_route():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("zero", "ones", "huge", "rank 3"):
            assert lapack.gram_svd(SQUARES[name]).residual < 1e-10


SHARDED = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
from eigensweep.engine.spectral.svd import decompose
w = np.random.default_rng(0).standard_normal((3, 12, 9))
w[2, :, 3:] = 0
found = decompose(w, "gram")
assert found.u.shape == (3, 12, 9), found.u.shape
for x, u, s, vt in zip(w, *(np.asarray(y) for y in found[:3])):
    np.testing.assert_allclose((u * s) @ vt, x, atol=1e-12)
print(jax.local_device_count(), "devices")
"""


def test_two_devices_share_the_batch_and_do_not_hang():
    done = subprocess.run([sys.executable, "-c", SHARDED], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "2 devices\n", done.stderr


def test_decomposition_is_plain_data():
    assert Decomposition._fields == ("u", "s", "vt", "residual", "orthogonality", "strategy")
