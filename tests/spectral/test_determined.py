"""Which vectors a matrix determines, and where the entries' kurtosis decides their p-values."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from eigensweep.engine import SweepOptions
from eigensweep.engine.run import entries
from eigensweep.engine.run.statistics import statistics
from eigensweep.engine.run.stream import decompose_batch
from eigensweep.engine.spectral import controls
from eigensweep.engine.spectral.determined import MOST_KURTOSIS, determined, entries_decide


def rows_of(*ws):
    return statistics(decompose_batch([str(i) for i in range(len(ws))], ws, "auto", ks=True), SweepOptions())


def orthogonal(m, n):
    return np.linalg.qr(np.random.default_rng(0).standard_normal((m, n)))[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "w",
    [orthogonal(512, 128), np.eye(96), np.eye(60, 90), scipy.linalg.hadamard(128) / 128**0.5],
    ids=["orthogonal", "identity", "rectangle", "hadamard"],
)
def test_degenerate_values_determine_no_vectors(w, dtype):
    (row,) = rows_of(w.astype(dtype))
    assert (row["undetermined"], row["hard_rank"]) == (min(w.shape), min(w.shape))
    assert np.isnan([row["p_right"], row["p_left"]]).all()
    assert np.isnan([row["mean_p_right"], row["rejected_share_left"], row["mean_p_left_z"]]).all()
    assert row["rejected_right"] == row["rejected_left"] == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ml_dtypes.bfloat16])
def test_gaussian_matrices_determine_all(dtype):
    ws = [np.random.default_rng(i).standard_normal((512, 128)).astype(dtype) for i in range(5)]
    rows = rows_of(*ws)
    assert [row["undetermined"] for row in rows] == [0] * 5
    assert np.isfinite([row["p_right"] for row in rows]).all()
    assert np.isfinite([row["p_left"] for row in rows]).all()


def test_a_pair_of_equal_values_among_others():
    q, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((40, 40)))
    s = np.linspace(2, 1, 40)
    s[11] = s[10]
    (row,) = rows_of((q * s) @ orthogonal(40, 40).T)
    assert np.flatnonzero(np.isnan(row["p_right"])).tolist() == [10, 11]
    assert row["undetermined"] == 2
    known = determined(np.array([[4.0, 3, 3, 1, 0]]), np.array([4]), (9, 5), 1e-7, 1e-16)
    assert known.tolist() == [[True, False, False, True, False]]
    np.testing.assert_array_equal(determined(s[None] * 1e-160, np.array([40]), (40, 40), 1e-7, 1e-16)[0], s != s[10])


def test_kurtosis_of_entries_is_scipys_without_huge_ones():
    rng = np.random.default_rng(2)
    ws = np.stack([rng.laplace(size=(60, 50)), rng.uniform(2, 3, (60, 50)), rng.standard_normal((60, 50))])
    expected = scipy.stats.kurtosis(ws.reshape(3, -1), axis=1)
    np.testing.assert_allclose([controls.excess_kurtosis(w) for w in ws], expected, atol=0.3)
    np.testing.assert_allclose(controls.excess_kurtosis(ws[1]), expected[1], rtol=1e-10)
    huge = ws[2].copy()
    huge[3, 4] = 1000.0
    assert scipy.stats.kurtosis(huge.ravel()) > 1000
    assert controls.excess_kurtosis(huge) == pytest.approx(expected[2], abs=0.05)
    assert np.isnan(controls.excess_kurtosis(np.ones((3, 4))))


def test_kurtosis_is_the_same_on_host_and_device():
    w = np.random.default_rng(3).standard_t(5, (4, 30, 20)).astype(np.float32)
    w[1, 2, 3], w[2, 0, 0], w[3] = 99.0, np.nan, 0.0
    on_host, on_device = entries.describe(w), entries.describe(jnp.asarray(w))
    np.testing.assert_allclose(on_device.kurtosis, on_host.kurtosis, rtol=1e-9)
    assert np.isnan(on_host.kurtosis).tolist() == [False, False, True, True]


def test_p_values_of_the_long_side_abstain_where_the_entries_decide():
    rng = np.random.default_rng(4)
    (narrow,) = rows_of(rng.uniform(-1, 1, (1024, 2)))
    (wide,) = rows_of(rng.uniform(-1, 1, (2, 1024)))
    assert np.isnan([narrow["p_left"], wide["p_right"]]).all()
    assert np.isfinite([narrow["p_right"], wide["p_left"]]).all()
    assert narrow["undetermined"] == 0
    (square,) = rows_of(rng.uniform(-1, 1, (64, 64)))
    assert np.isfinite([square["p_left"], square["p_right"]]).all()
    edge = MOST_KURTOSIS * 16 / np.sqrt(256)
    assert entries_decide(np.array([0.99, -0.99, 1.01, -1.01, np.nan]) * edge, 256, 16).tolist() == [
        False, False, True, True, False,
    ]  # fmt: skip


def test_z_of_the_mean_p_is_standard_normal_on_noise():
    rows = rows_of(*np.random.default_rng(5).standard_normal((250, 40, 24)))
    for side in ("right", "left"):
        z = np.array([row[f"mean_p_{side}_z"] for row in rows])
        assert abs(z.mean()) < 0.2  # three standard errors
        assert 0.87 < z.std() < 1.13
