"""The sweep on a small checkpoint: rows against NumPy, marked matrices, resume, refusal, batches that do not matter."""

import json

import numpy as np
import pandas as pd
import pytest

from eigensweep import engine
from eigensweep.engine import RunError, SweepOptions
from eigensweep.engine.run import stream

CHOSEN = {"null": "monte_carlo", "num_draws": 500, "control": "permutation", "equalise": False, "num_flips": 0}
OPTIONS = SweepOptions(**CHOSEN)  # the other readings: test_readings.py


@pytest.fixture(scope="module")
def marked():
    rng = np.random.default_rng(1)
    w = rng.standard_normal((40, 40)).astype(np.float32)
    nan, infinite = w.copy(), w.copy()
    nan[3, 4] = np.nan
    infinite[0, :2] = np.inf
    return (
        ("nan", "query", nan),
        ("inf", "query", infinite),
        ("zero", "query", np.zeros((40, 40), np.float32)),
        ("vector", "classifier", w[:1]),
        ("empty", "other", np.zeros((0, 40), np.float32)),
    )


@pytest.fixture(scope="module")
def whole(make_checkpoint):
    """The undisturbed sweep, in memory."""
    return engine.sweep(make_checkpoint(), OPTIONS)


def _ks(v):
    """D of a unit vector against N(0, 1/n), straight from the definition."""
    from scipy.stats import kstest

    return kstest(np.sqrt(len(v)) * v, "norm").statistic


def test_rows_against_numpy(make_checkpoint, whole):
    checkpoint, run = make_checkpoint(), whole
    assert list(run.matrices["name"]) == [m.name for m in checkpoint.matrices]
    assert (run.matrices["status"] == "ok").all()
    for matrix, row, spectra in zip(
        checkpoint.matrices, run.matrices.itertuples(), run.spectra.itertuples(), strict=True
    ):
        w = matrix.array.astype(np.float64)
        u, s, vt = np.linalg.svd(w, full_matrices=False)
        np.testing.assert_allclose(spectra.singular_values, s, rtol=1e-9)
        assert row.sigma_entries == pytest.approx(w.std(), rel=1e-12)
        assert row.frobenius_norm == pytest.approx(np.linalg.norm(w), rel=1e-12)
        assert row.spectral_norm == pytest.approx(s[0] ** 2, rel=1e-12)
        assert row.num_right_outliers == (1 if matrix.role == "mlp_up" else 0)
        assert row.quasi_null_count == (s < row.nu_minus).sum()
        assert row.residual < 1e-12
        assert row.orthogonality < 1e-9
        for vectors, length, ks, p in (
            (vt, vt.shape[1], spectra.ks_right, spectra.p_right),
            (u.T, len(u), spectra.ks_left, spectra.p_left),
        ):
            np.testing.assert_allclose(ks, [_ks(v) for v in vectors], atol=1e-7)
            assert len(p) == 40
            kurtosis = abs(row.entries_kurtosis) * np.sqrt(length) / (w.size / length)
            assert np.isnan(p).all() if kurtosis > 0.5 else ((p >= 1 / 4001) & (p <= 1)).all()
            assert length in (40, 80)


@pytest.mark.parametrize("sigma", ["entries", "init"])
def test_edges_follow_the_sigma_that_the_option_names(make_checkpoint, sigma):
    table = engine.sweep(make_checkpoint(), SweepOptions(**CHOSEN | {"control": "none", "sigma": sigma})).matrices
    expected = table["sigma_entries"] if sigma == "entries" else 1 / np.sqrt(table["m"].astype(float))
    np.testing.assert_allclose(table["sigma"], expected.astype(float), rtol=1e-12)
    a, b = (table[["m", "n"]].agg(end, axis=1).astype(float) for end in ("max", "min"))
    np.testing.assert_allclose(table["nu_plus"], table["sigma"] * (np.sqrt(a) + np.sqrt(b)), rtol=1e-9)


def test_a_batch_that_does_not_fit_is_halved(make_checkpoint, whole, monkeypatch):
    seen, decompose = [], stream.decompose

    def cramped(batch, strategy):
        import jax

        seen.append(len(batch))
        if len(batch) > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return decompose(batch, strategy)

    monkeypatch.setattr(stream, "decompose", cramped)
    run = engine.sweep(make_checkpoint(), OPTIONS)
    assert sorted(seen) == [1] * 12 + [2] * 6  # the matrices and their controls
    pd.testing.assert_frame_equal(run.matrices, whole.matrices, rtol=1e-10)


def test_large_matrices_are_streamed_and_their_rows_are_the_same(make_checkpoint, whole, monkeypatch):
    """What does not fit goes slab by slab; the rest, here the square matrices, does not."""
    monkeypatch.setattr("eigensweep.engine.spectral.svd.auto.CPU_RESIDENT", 8 * 4 * 2 * 40 * 40)
    run = engine.sweep(make_checkpoint(), OPTIONS)
    streamed = run.matrices["role"] != "query"
    assert (run.matrices["strategy"] == np.where(streamed, "streamed", "lapack")).all()
    ours, theirs = (r.matrices.drop(columns="strategy") for r in (run, whole))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9, atol=1e-9)
    pd.testing.assert_frame_equal(run.spectra, whole.spectra, rtol=1e-9)


def test_controls_have_no_outliers_and_keep_the_entries(make_checkpoint):
    run = engine.sweep(make_checkpoint(), SweepOptions(**CHOSEN | {"control": "both"}))
    assert run.matrices["num_right_outliers"].sum() == 2
    assert run.matrices["control_gaussian_num_right_outliers"].sum() == 0
    assert run.matrices["control_permutation_num_right_outliers"].sum() == 0
    np.testing.assert_allclose(
        run.matrices["control_permutation_frobenius_norm"], run.matrices["frobenius_norm"], rtol=1e-9
    )
    assert (run.matrices["control_gaussian_frobenius_norm"] != run.matrices["frobenius_norm"]).all()


def test_marked_matrices_are_kept_and_the_rest_goes_on(make_checkpoint, marked, whole, tmp_path):
    run = engine.sweep(make_checkpoint(marked), OPTIONS, tmp_path / "run")
    table = run.matrices.set_index("name")
    assert dict(table["status"].tail(5)) == {
        "nan": "non-finite entries: 1",
        "inf": "non-finite entries: 2",
        "zero": "all zero",
        "vector": "vector (1 x 40)",
        "empty": "empty",
    }
    for column in ("alpha", "num_right_outliers", "control_permutation_alpha"):
        assert table[column].tail(5).isna().all(), column
    assert np.isfinite(table.loc["vector", ["sigma_entries", "frobenius_norm"]].astype(float)).all()
    pd.testing.assert_frame_equal(whole.matrices, run.matrices.head(6))


def test_an_inaccurate_matrix_is_marked_and_keeps_its_numbers(make_checkpoint, whole, monkeypatch):
    decompose = stream.decompose

    def spoilt(batch, strategy):
        found = decompose(batch, strategy)
        return found._replace(residual=np.full(len(batch), 1e-3)) if batch.shape[1:] == (80, 40) else found

    monkeypatch.setattr(stream, "decompose", spoilt)
    run = engine.sweep(make_checkpoint(), OPTIONS)
    bad = run.matrices["role"] == "mlp_up"
    assert (run.matrices["status"][bad] == "inaccurate decomposition: residual 1.0e-03").all()
    assert (run.matrices["status"][~bad] == "ok").all()
    assert (run.matrices["spectral_norm"] == whole.matrices["spectral_norm"]).all()


def test_same_numbers_whatever_the_batches(make_checkpoint):
    one = engine.sweep(make_checkpoint(), OPTIONS, memory_bytes=1)
    many = engine.sweep(make_checkpoint(), OPTIONS, memory_bytes=10**9)
    pd.testing.assert_frame_equal(one.matrices, many.matrices, rtol=1e-12, atol=0)
    pd.testing.assert_frame_equal(one.spectra, many.spectra, rtol=1e-12, atol=0)


def test_seed_changes_the_controls_only(make_checkpoint, whole):
    second = engine.sweep(make_checkpoint(), SweepOptions(**CHOSEN, seed=1)).matrices
    control = "control_permutation_spectral_norm"
    assert (whole.matrices[control] != second[control]).all()
    assert (whole.matrices["alpha"] == second["alpha"]).all()


def test_interrupted_run_continues_with_what_was_done(make_checkpoint, whole, tmp_path):
    class Stop(Exception):
        pass

    def stop_after_three(progress):
        if progress.done == 3:
            raise Stop

    with pytest.raises(Stop):
        engine.sweep(make_checkpoint(), OPTIONS, tmp_path, memory_bytes=1, on_progress=stop_after_three)
    with pytest.raises(RunError, match="has not finished"):
        engine.open_run(tmp_path)
    checkpoint = make_checkpoint()
    seen = []
    run = engine.sweep(
        checkpoint, OPTIONS, tmp_path, memory_bytes=1, on_progress=lambda p: seen.append((p.done, p.total))
    )
    assert list(dict.fromkeys(seen)) == [(0, 0), (3, 6), (4, 6), (5, 6), (6, 6)]
    assert sum(len(m.reads) for m in checkpoint.matrices) == 3
    pd.testing.assert_frame_equal(run.matrices, whole.matrices)
    pd.testing.assert_frame_equal(run.spectra, whole.spectra)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".lock", "manifest.json", "matrices.parquet", "spectra.parquet",
    ]  # fmt: skip


def test_finished_run_is_read_back_without_work(make_checkpoint, tmp_path):
    first = engine.sweep(make_checkpoint(), OPTIONS, tmp_path)
    assert engine.is_finished(tmp_path)
    checkpoint = make_checkpoint()
    second = engine.sweep(checkpoint, OPTIONS, tmp_path)
    assert sum(len(m.reads) for m in checkpoint.matrices) == 0
    pd.testing.assert_frame_equal(first.matrices, second.matrices)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["status"], manifest["study"], manifest["matrices"]) == ("done", "sweep", 6)
    assert manifest["skipped"] == [
        {"name": "norm.weight", "shape": [8], "dtype": "float32", "reason": "not a matrix (1-D)"}
    ]
    assert manifest["timings"]["total"] > 0


def test_another_checkpoint_or_config_is_refused(make_checkpoint, tmp_path):
    engine.sweep(make_checkpoint(), OPTIONS, tmp_path)
    with pytest.raises(RunError, match="contents differ"):
        engine.sweep(make_checkpoint(sha256="1" * 64), OPTIONS, tmp_path)
    with pytest.raises(RunError, match=r"level: 0\.01 there, 0\.05 now"):
        engine.sweep(make_checkpoint(), SweepOptions(**CHOSEN, level=0.05), tmp_path)


def test_an_error_while_reading_leaves_the_run_to_be_continued(make_checkpoint, monkeypatch, tmp_path):
    """An error while reading ahead reaches the caller, and what was finished stays."""
    checkpoint = make_checkpoint()

    def broken(self):
        raise OSError("the disk is gone")

    monkeypatch.setattr(type(checkpoint.matrices[0]), "read", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        engine.sweep(checkpoint, OPTIONS, tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "running"


def test_bootstrap_only_where_asked_for(make_checkpoint, whole):
    """Its columns are NaN without the option and do not depend on the batch; every other column stays."""
    columns = ["alpha_low", "alpha_high", "pl_p"]
    columns += [f"llr_{law}{end}" for law in ("exponential", "lognormal", "truncated") for end in ("", "_p")]
    assert whole.matrices[columns].isna().all().all()
    asked = CHOSEN | {"bootstrap": 9}
    table = engine.sweep(make_checkpoint(), SweepOptions(**asked)).matrices
    assert table[columns].notna().all().all()
    assert (table["alpha_low"] <= table["alpha_high"]).all()
    assert table["pl_p"].between(0.1, 1).all()
    assert (table["llr_truncated"] <= 1e-9).all()
    assert table[[f"control_permutation_{c}" for c in columns]].isna().all().all()
    split = engine.sweep(make_checkpoint(), SweepOptions(**asked), memory_bytes=1).matrices
    pd.testing.assert_frame_equal(table[columns], split[columns])
    same = [c for c in table if c not in (*columns, "phase", "phase_evidence", "universality", "mu")]
    pd.testing.assert_frame_equal(table[same], whole.matrices[same])
    assert table["phase"].notna().all()


def test_what_is_swept_is_fetched_and_nothing_else(make_checkpoint, tmp_path):
    """Of a checkpoint whose files lie elsewhere: once, before the first read, and nothing that is finished."""
    checkpoint, fetched = make_checkpoint(), []
    object.__setattr__(checkpoint, "fetch", lambda matrices: fetched.append([m.name for m in matrices]))
    options = SweepOptions(roles=("query",), control="none", equalise=False, num_flips=0)
    engine.sweep(checkpoint, options, tmp_path)
    assert fetched == [["blocks.0.query", "blocks.1.query"]]
    engine.sweep(checkpoint, options, tmp_path)
    assert len(fetched) == 1
