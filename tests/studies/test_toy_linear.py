"""The linear model of learning, from options to page: calibrated, resumed, refused, drawn."""

import json

import numpy as np
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.report import style
from eigensweep.engine.spectral.least_squares import noise_variance
from eigensweep.engine.studies import toy_linear, write_report
from eigensweep.engine.studies.toy_linear import measure, study
from eigensweep.engine.studies.toy_linear.options import ToyLinearOptions
from eigensweep.engine.studies.toy_linear.study import open_toy_linear, run_toy_linear

SMALL = {"inputs": 24, "outputs": 72, "samples": (36, 200), "num_seeds": 8, "num_null": 99, "covariance": "power:1"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_toy_linear(ToyLinearOptions(**SMALL), tmp_path_factory.mktemp("linear") / "run")


def test_what_the_tables_hold_follows_from_the_simulations(done):
    options, evals = done.chosen, np.arange(1, 25) ** -1.0
    assert done.samples["samples"].tolist() == [36, 200]
    for row in done.samples.to_dict("records"):
        found = list(measure.simulated(options, row["samples"]))
        seeds = done.seeds[done.seeds["samples"] == row["samples"]]
        for simulation, seed in zip(found, seeds.to_dict("records"), strict=True):
            np.testing.assert_array_equal(simulation.s, seed["singular_values"])
            assert seed["num_lower"] == np.sum(simulation.s < row["threshold"] * np.median(simulation.s))
            np.testing.assert_allclose(seed["overlap"], np.abs(simulation.v).max(axis=1))
            along = np.einsum("kj,j,kj->k", simulation.v, evals, simulation.v) / evals.mean()
            np.testing.assert_allclose(seed["variance"], along)
            assert seed["risk"] == pytest.approx(72 * np.sum(evals * simulation.noise))
        assert row["num_lower"] == pytest.approx(seeds["num_lower"].mean())
        np.testing.assert_allclose(row["expected_noise"], noise_variance(measure.model_of(options), row["samples"]))
        expected = row["expected_risk"] * 8 / len(seeds)
        assert row["risk"] == pytest.approx(expected, rel=0.25)
        assert row["overlap_lower"] > row["overlap_null_99"] > row["overlap_inside"]


def test_isotropic_data_have_lower_outliers_at_the_level():
    """Of 400 further matrices about level have one: within four standard deviations of 0.05."""
    options = ToyLinearOptions(**SMALL | {"covariance": "identity", "num_null": 399, "level": 0.05})
    edge = measure.threshold(options, 60)
    fresh = measure.least_squares.isotropic_ratios(measure.model_of(options), 60, [99], 400)
    assert abs(np.mean(fresh < edge) - 0.05) < 4 * np.sqrt(0.05 * 0.95 * 2 / 400)


def test_batches_do_not_matter_and_an_interrupted_study_is_continued(done, tmp_path, monkeypatch):
    options = ToyLinearOptions(**SMALL, batch_size=3)
    whole = measure.rows_of

    def interrupted(options, samples):
        if samples == 200:
            raise KeyboardInterrupt
        return whole(options, samples)

    monkeypatch.setattr(study, "rows_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_toy_linear(options, tmp_path)
    monkeypatch.setattr(study, "rows_of", lambda options, samples: whole(options, samples) if samples == 200 else 1 / 0)
    resumed = run_toy_linear(options, tmp_path)
    assert all(resumed.tables[name].equals(done.tables[name]) for name in done.tables)
    monkeypatch.setattr(study, "rows_of", lambda options, samples: 1 / 0)
    assert open_toy_linear(tmp_path).tables["toy_linear"].num_rows == 2
    run_toy_linear(options, tmp_path)  # finished: read back
    with pytest.raises(RunError, match=r"level: 0\.01 there, 0\.05 now"):
        run_toy_linear(ToyLinearOptions(**SMALL, level=0.05), tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text(json.dumps({"study": "sweep", "status": "done"}))
    with pytest.raises(RunError, match=r"another kind \(sweep\)"):
        run_toy_linear(options, tmp_path / "other")


def test_its_page_explains_its_tables_and_its_figures_are_drawn(done, tmp_path):
    page = write_report(done.directory, tmp_path).read_text("utf-8")
    assert "<title>The linear model of learning</title>" in page
    with style.context():
        for name, draw in toy_linear.figures_of(done).items():
            figure = draw()
            assert figure.axes, name
            assert "nan" not in " ".join(text.get_text() for text in figure.texts).split(), name
    text = toy_linear.TOY.render(done)
    assert max(map(len, text.splitlines())) <= 100
    assert " 8/8 " in text


def test_a_damaged_table_is_named(done, tmp_path):
    import shutil

    from eigensweep.engine.tables.files import write_table

    folder = shutil.copytree(done.directory, tmp_path / "run")
    (folder / "report.html").unlink(missing_ok=True)
    manifest = json.loads((folder / "toy_linear.json").read_text())
    manifest.pop("tables")
    (folder / "toy_linear.json").write_text(json.dumps(manifest))
    seeds = done.tables["toy_linear_seeds"]
    write_table(folder / "toy_linear_seeds.parquet", seeds.set_column(
        seeds.schema.get_field_index("overlap"), "overlap", [[[0.5]] * seeds.num_rows]))  # fmt: skip
    with pytest.raises(RunError, match=r"toy_linear_seeds\.parquet: is damaged: a list of column 'overlap'"):
        open_toy_linear(folder)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"inputs": 0}, "inputs is 0; expected at least 8"),
        ({"outputs": -3}, "outputs is -3"),
        ({"samples": "25"}, r"samples has N = 25; .* from N = d \+ 2 = 26 on"),
        ({"samples": ""}, "samples is empty"),
        ({"samples": "3O"}, "expected numbers and ranges"),
        ({"samples": 10**12}, "multiplications"),
        ({"noise": 0.0}, "noise is 0.0; expected at least 0.001"),
        ({"noise": 1e200}, "noise is 1e.200; expected at most 1000"),
        ({"rank": 3}, "rank is 3, but signal is 0"),
        ({"noise": float("nan")}, "finite"),
        ({"signal": -1.0}, "signal is -1"),
        ({"rank": 25}, "W. has 24 columns"),
        ({"num_seeds": 1}, "num_seeds is 1"),
        ({"num_null": 50}, "num_null is 50; a level of 0.01 takes at least 99"),
        ({"covariance": "power:-1"}, "covariance power:-1: in 24 dimensions the exponent must lie between 0 and"),
        ({"covariance": "spiked"}, "covariance is 'spiked'; expected one of identity"),
    ],
)
def test_what_cannot_be_simulated_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        ToyLinearOptions.of(SMALL | options)


def test_the_command_takes_its_options_from_the_model(program, tmp_path):
    """One run; the slips are answered before anything is written."""
    flags = [f"--config.{k}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in SMALL.items()]
    run = program("toy", "--model=linear", "--workdir=run", "--noreport", *flags, "--config.samples=36", cwd=tmp_path)
    assert "lower" in run.succeeded().stdout
    for arguments, says in (
        (["--workdir=x"], "no model: give --model=linear"),
        (["--model=liner", "--workdir=x"], "did you mean linear?"),
        (["--model=linear", "--workdir=x", "--config.smples=9"], "config.samples"),
        (["--config=overlap_minilm", "--workdir=x"], "not of eigensweep-toy"),
        (
            ["--config=toy_linear", "--model=mlp", "--workdir=x"],
            "the preset given by --config is one of --model=linear",
        ),
    ):
        program("toy", *arguments, cwd=tmp_path).refused(says)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert "toy_linear" in program("toy", "--help").succeeded().stdout
