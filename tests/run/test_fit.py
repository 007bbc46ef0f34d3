"""What a sweep says of matrices for which Marchenko-Pastur holds, does not hold, or cannot be asked."""

import numpy as np
import pytest
import scipy.linalg

from eigensweep.engine.run import fit
from eigensweep.engine.run.options import MatrixOptions
from eigensweep.engine.run.statistics import statistics
from eigensweep.engine.run.stream import decompose_batch
from eigensweep.engine.spectral import edges
from eigensweep.engine.spectral.ensembles import planted
from eigensweep.engine.spectral.law import GAUSSIAN


def row(w, law=GAUSSIAN, **options):
    (found,) = statistics(decompose_batch(["w"], [w], "auto", ks=True), MatrixOptions(**options), law=law)
    assert found["status"] == "ok"
    return found


def gaussian(m=96, n=64, seed=0):
    return np.random.default_rng(seed).standard_normal((m, n))


def counts(found):
    return found["num_right_outliers"], found["num_left_outliers"]


def test_noise_holds():
    found = row(gaussian())
    assert found["mp_verdict"] == "Marchenko-Pastur holds"
    assert found["mp_gof_p"] > 0.01
    assert found["mp_gof"] == pytest.approx(64 * found["mp_ks"], rel=1e-12)


@pytest.mark.parametrize(("strengths", "words"), [([40], "holds with 1 spike"), ([40, 50, 90], "holds with 3 spikes")])
def test_spikes_on_noise_are_counted(strengths, words):
    found = row(planted(gaussian(seed=6), strengths, np.random.default_rng(1)))
    assert found["mp_verdict"] == words
    assert counts(found) == (len(strengths), 0)
    s2 = np.asarray(found["singular_values"]) ** 2
    assert found["energy_right"] == pytest.approx(s2[: len(strengths)].sum() / s2.sum(), rel=1e-12)
    assert found["energy_right"] + found["energy_bulk"] + found["energy_left"] == pytest.approx(1, rel=1e-12)


def test_zero_columns_are_left_outliers_of_a_law_that_holds():
    w = gaussian(seed=5)
    w[:, :10] = 0
    found = row(w)
    assert found["mp_verdict"] == "holds with 10 spikes"
    assert counts(found) == (0, 10)
    assert found["condition"] == np.inf


@pytest.mark.parametrize(
    "w",
    [
        np.linalg.qr(gaussian())[0],
        scipy.linalg.hadamard(64).astype(float),
        np.eye(64),
        np.eye(64) + 0.01 * gaussian(64, 64),
        gaussian() * np.exp(0.7 * np.random.default_rng(2).standard_normal((1, 64))),
    ],
    ids=["orthogonal", "hadamard", "identity", "nearly identity", "column profile"],
)
def test_what_the_law_does_not_describe_is_said_so(w):
    assert row(w)["mp_verdict"] == fit.DESCRIPTIVE


def test_few_values_have_no_edge_test():
    found = row(gaussian(30, 7))
    assert found["mp_verdict"] == "undetermined: fewer than 8 singular values"
    assert counts(found) == (None, None)
    assert np.isnan([found[key] for key in ("mp_ks", "mp_gof", "mp_gof_p", "energy_bulk")]).all()


@pytest.mark.parametrize(("b", "marked"), [(8, True), (16, False)])
def test_small_matrices_are_marked(b, marked):
    assert row(gaussian(30, b))["mp_verdict"].endswith("(small matrix)") == marked


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_low_rank_product_has_no_bulk(dtype):
    w = gaussian(96, 8).astype(dtype) @ gaussian(8, 64).astype(dtype)
    found = row(w)
    assert found["mp_verdict"] == "rank 8: no bulk"
    assert counts(found) == (None, None)
    assert found["condition"] == np.inf


def test_a_minority_is_no_bulk():
    w = gaussian() * np.repeat([1e-4, 1e-2, 1.0, 100.0], 16)
    assert row(w)["mp_verdict"] == "undetermined: more than half of the singular values are outliers"


@pytest.mark.parametrize("scale", [2.0**-30, 1e-160, 1e-300, 1e160, 1e300])
def test_scale_changes_only_what_has_a_unit(scale):
    w = planted(gaussian(), [40, 60], np.random.default_rng(3))
    plain, scaled = row(w), row(scale * w)
    for key in ("num_right_outliers", "num_left_outliers", "hard_rank", "num_pl_spikes", "mp_verdict"):
        assert scaled[key] == plain[key], key
    for key in ("alpha", "entropy", "stable_rank", "mp_ks", "mp_gof_p", "condition", "energy_right", "mean_p_right"):
        assert scaled[key] == pytest.approx(plain[key], rel=1e-9), key
    for key in ("sigma", "sigma_bulk", "sigma_entries", "nu_plus", "frobenius_norm"):
        assert scaled[key] / scale == pytest.approx(plain[key], rel=1e-9), key
    log = np.log10(scale)
    assert scaled["log_norm"] == pytest.approx(plain["log_norm"] + 2 * log, rel=1e-9)
    assert scaled["log_alpha_norm"] == pytest.approx(plain["log_alpha_norm"] + 2 * plain["alpha"] * log, rel=1e-9)
    assert scaled["alpha_weighted"] == pytest.approx(plain["alpha_weighted"] + 2 * plain["alpha"] * log, rel=1e-9)
    if scale > 1:
        assert scaled["norm"] == np.inf
    else:
        assert scaled["norm"] == pytest.approx(plain["norm"] * scale**2, rel=1e-9, abs=1e-315)


@pytest.mark.parametrize(("init", "expected"), [("fan_out", 96**-0.5), ("fan_in", 64**-0.5), ("0.02", 0.02)])
def test_sigma_of_the_initialisation(init, expected):
    found = row(0.02 * gaussian(), sigma="init", init=init)
    assert found["sigma"] == expected
    assert found["sigma_bulk"] == pytest.approx(0.02, rel=0.02)


def half_threshold(m, n, level):
    return 0.5 * edges.right_threshold(m, n, level)


def never(t, a, b, num_bulk):
    return np.full(t.shape, 1.0)


def test_another_law_sets_the_edges_and_the_fit():
    law = GAUSSIAN._replace(right_threshold=half_threshold, gof_p=never)
    found = row(gaussian(), law)
    s, sigma = np.asarray(found["singular_values"]), found["sigma_bulk"]
    assert found["num_right_outliers"] == np.sum(s > sigma * half_threshold(96, 64, 0.01)) > 5
    assert found["mp_gof_p"] == 1


def test_the_words_follow_from_the_columns():
    names = ("num_right_outliers", "num_left_outliers", "hard_rank", "num_bulk")
    found = {name: np.array([number]) for name, number in zip(names, (0, 0, 64, 64), strict=True)}
    judged = fit.judge(found | {"mp_gof": np.array([np.nan])}, 96, 64, 0.01, GAUSSIAN)
    assert judged["mp_verdict"] == ["undetermined: no noise level"]
    certain = fit.judge(found | {"mp_gof": np.array([60.0])}, 96, 64, 1e-9, GAUSSIAN)  # a level below the table's floor
    assert certain["mp_verdict"] == [fit.DESCRIPTIVE]
