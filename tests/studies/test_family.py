"""A run's tests as one family: rates on noise, what survives, which readings are there."""

import numpy as np
import pyarrow as pa
import pytest

from eigensweep import engine
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg, simes
from eigensweep.engine.studies.sweep.family import family_table, render_family
from eigensweep.engine.studies.sweep.study import Run


def run_of(num, **columns):
    names = [f"w{i}" for i in range(num)]
    lists = {key: pa.array(list(value)) for key, value in columns.items() if np.ndim(value) == 2}
    scalars = {key: pa.array(value) for key, value in columns.items() if np.ndim(value) == 1}
    matrices = pa.table({"name": names, "status": ["ok"] * (num - 1) + ["all zero"], **scalars})
    return Run({"matrices": matrices, "spectra": pa.table({"name": names, **lists})}, {"options": {"level": 0.05}})


def test_counts_of_a_run():
    rng = np.random.default_rng(0)
    strong = np.r_[np.full(10, 1e-9), rng.uniform(0.06, 1, 88), np.nan, 1e-9]  # the last one's status is not ok
    vectors = rng.random((100, 30))
    vectors[:5, 3] = 1e-6
    vectors[7] = np.nan
    run = run_of(
        100, p_largest=strong, p_smallest=rng.random(100), p_right=vectors, equalised_p_largest=rng.random(100)
    )
    table = family_table(run).set_index(["reading", "side"])
    assert list(table.index) == [
        ("as it is", "largest singular value"),
        ("as it is", "smallest singular value"),
        ("as it is", "right vectors"),
        ("equalised", "largest singular value"),
    ]
    first = table.iloc[0]
    assert (first["tests"], first["fired"], first["surviving"]) == (98, 10, 10)
    assert first["expected"] == pytest.approx(4.9)
    right = table.loc[("as it is", "right vectors")]
    fired = sum(benjamini_hochberg(p, 0.05).any() for p in vectors[:99])
    assert (right["tests"], right["fired"], right["surviving"]) == (98, fired, 5)
    text = render_family(table.reset_index())
    assert "survive over the run" in text
    assert "of one scale for the matrix as it is" in " ".join(text.split())
    assert len(text.splitlines()) == 8
    assert all(len(line) <= 100 for line in text.splitlines())


def test_noise_fires_at_its_level_and_survives_nothing():
    rng = np.random.default_rng(1)
    fired = survived = 0
    for _ in range(40):
        table = family_table(run_of(101, p_largest=rng.random(101), p_left=rng.random((101, 20))))
        fired, survived = fired + table["fired"].sum(), survived + (table["surviving"] > 0).sum()
    assert 320 < fired < 480  # 40 runs, two tests, 100 matrices at 0.05
    assert survived <= 10


def test_simes_is_the_level_at_which_the_procedure_rejects_any():
    p = np.array([0.03, 0.5, np.nan, 0.011])
    assert simes(p) == pytest.approx(0.033)
    for level, rejects in ((0.032, False), (0.034, True)):
        assert benjamini_hochberg(p, level).any() == rejects
    assert np.isnan(simes(np.full(3, np.nan)))


PLAIN = {"control": "permutation", "equalise": False, "num_flips": 0}


def test_a_sweep_has_its_family(make_checkpoint):
    run = engine.sweep(make_checkpoint(), engine.SweepOptions(null="monte_carlo", num_draws=500, **PLAIN))
    table = family_table(run)
    assert table["reading"].unique().tolist() == ["as it is", "control, permutation"]
    values = table["side"].str.endswith("singular value")
    assert table["tests"][values].tolist() == [6] * 4
    # of vectors those that have p-values: the spikes give some matrices a kurtosis that decides
    assert table["tests"][~values].tolist()[:2] == [
        sum(np.isfinite(p).any() for p in run.spectra[f"p_{side}"]) for side in ("right", "left")
    ]
    assert table["fired"].tolist()[0] == (run.matrices["num_right_outliers"] > 0).sum() == 2
    assert "raised" in run.manifest["warnings"][-1]
    assert "4000 for the 40 vectors" in run.manifest["warnings"][-1]
    ranks = np.concatenate([*run.spectra["p_right"]]) * 4001
    np.testing.assert_allclose(ranks, np.round(ranks), atol=1e-8)  # of 4000 draws
