"""Many checkpoints: which a text names, sweeps side by side, one frame of all, scores; and series with their steps."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from scipy import stats

from eigensweep import engine
from eigensweep.engine.studies.fleet import runs, scatter, scores, sources, sweeps
from eigensweep.engine.studies.fleet.options import FleetOptions, SeriesOptions
from eigensweep.engine.studies.series import figures_of, summary, view_of
from eigensweep.engine.studies.series.steps import steps_of
from eigensweep.engine.studies.series.study import failed_in, open_series, run_series
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.errors import RunError

SMALL = {"control": "none", "equalise": False, "num_flips": 0}


def write_model(folder, seed, spike=0.0, size=24):
    """Two square matrices of noise, with a planted direction."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    u, v = (x / np.linalg.norm(x) for x in rng.standard_normal((2, size)))
    noise = {name: rng.standard_normal((size, size)) for name in ("q_proj.weight", "up_proj.weight")}
    noise["q_proj.weight"] += spike * 2 * np.sqrt(size) * np.outer(u, v)
    save_file({name: w.astype(np.float32) for name, w in noise.items()}, folder / "model.safetensors")
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Five checkpoints of one training, whose planted direction grows; step-30 is damaged."""
    home = tmp_path_factory.mktemp("models")
    for step, spike in ((0, 0.0), (2, 0.5), (10, 2.0), (100, 4.0)):
        write_model(home / f"step-{step}", step, spike)
    (home / "step-30").mkdir()
    (home / "step-30" / "model.safetensors").write_bytes(b"\0" * 100)
    return home


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b/c,a", ["a", "b/c"]),
        ("o/n@step{0,1,512}", ["o/n@step0", "o/n@step1", "o/n@step512"]),
        ("x{8..10},y{04..00..2}", ["x8", "x9", "x10", "y04", "y02", "y00"]),
        ("{a,b}{1,2}", ["a1", "a2", "b1", "b2"]),
    ],
)
def test_what_a_text_names(text, expected):
    assert sources.sources_of(text) == expected


def test_globs_are_in_natural_order_and_files_are_lists(models, tmp_path):
    found = [os.path.basename(path) for path in sources.sources_of(f"{models}/step-*")]
    assert found == ["step-0", "step-2", "step-10", "step-30", "step-100"]
    listed = tmp_path / "ids.txt"
    listed.write_text("# of the hub\nowner/one\n\nowner/two@step{1,2}  # both\n")
    assert sources.sources_of(str(listed)) == ["owner/one", "owner/two@step1", "owner/two@step2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a{1,2", "a brace is not closed"),
        (" , ", "names no checkpoint"),
        ("/nowhere/*", "fits this pattern"),
        ("x{0..99999999}", "a range of at most"),
        ("{0..999}{0..999}", "more than 20000"),
        ("{1..5..0}", "a range"),
    ],
)
def test_slips_in_lists_are_named(text, says):
    with pytest.raises(RunError, match=says):
        sources.sources_of(text)


def test_names_of_directories_are_safe_stable_and_different(tmp_path):
    asked = ["owner/name", "owner/name@main", "owner/name@refs/pr/1", "owner/name@refs--pr/1", "/a/x", "/b/x", "/a/ü?"]
    names = sources.names_of(asked)
    assert len(set(names.values())) == len(asked)
    assert names["owner/name@main"] == "owner--name@main"
    assert all(name == os.path.basename(name) and name.isascii() for name in names.values())
    assert sources.names_of(asked[:1] + asked[-1:]) == {key: names[key] for key in (asked[0], asked[-1])}


@pytest.fixture(scope="module")
def fleet(models, tmp_path_factory):
    """The fleet of the checkpoints above, and its rows."""
    workdir = tmp_path_factory.mktemp("fleet")
    members = members_of(models, workdir)
    return workdir, sweeps.sweep_all(members, FleetOptions(**SMALL))


def members_of(models, workdir):
    names = sources.names_of(sources.sources_of(f"{models}/*"))
    return [sweeps.Member(source, workdir / name) for source, name in names.items()]


def test_one_that_fails_is_told_and_stops_no_other(fleet, models):
    workdir, rows = fleet
    table = sweeps.write_status(rows, workdir).to_pandas().set_index("checkpoint")
    failed = table.loc[f"{models}/step-30"]
    assert failed["status"] == "failed"
    assert "step-30/model.safetensors" in failed["reason"]
    assert "\n" not in failed["reason"]
    assert list(table["status"]).count("done") == 4
    assert (table.loc[table["status"] == "done", "parameters"] == 2 * 24 * 24).all()
    written = json.loads((workdir / "fleet.json").read_text())["models"]
    assert [{key: row[key] for key in known} for row, known in zip(written, rows, strict=True)] == rows
    assert [member.source for member in sweeps.members_in(workdir)] == list(table.index)


def test_a_second_start_does_nothing_again_but_what_failed(fleet, models):
    workdir, rows = fleet
    members = members_of(models, workdir)
    before = {p: p.stat().st_mtime_ns for p in workdir.glob("*/manifest.json")}
    first = json.loads((workdir / rows[3]["run"] / "failed.json").read_text())["time"]
    assert sweeps.sweep_all(members, FleetOptions(**SMALL)) == rows
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert json.loads((workdir / rows[3]["run"] / "failed.json").read_text())["time"] > first
    again = sweeps.sweep_all(members[:1], FleetOptions(**SMALL, level=0.02))
    assert again[0]["status"] == "failed"
    assert "level: 0.01 there, 0.02 now" in again[0]["reason"]
    assert sweeps.sweep_all(members, FleetOptions(**SMALL)) == rows


def test_a_directory_in_use_is_passed_over_and_taken_at_the_end(models, tmp_path, monkeypatch):
    members = members_of(models, tmp_path)[:3]
    order, real = [], sweeps.sweep
    monkeypatch.setattr(sweeps, "sweep", lambda *args, **kw: (order.append(args[2]), real(*args, **kw))[1])
    held = claimed(members[0].directory, sweeps.Run.layout, {"checkpoint": {}, "options": {}})
    held.__enter__()

    def let_go(seconds):
        held.__exit__(None, None, None)
        (members[0].directory / "manifest.json").unlink()

    monkeypatch.setattr(sweeps.time, "sleep", let_go)
    assert sweeps.status_of(members[0])["status"] == "working"
    rows = sweeps.sweep_all(members, FleetOptions(**SMALL))
    assert [row["status"] for row in rows] == ["done"] * 3
    assert order == [members[1].directory, members[2].directory, members[0].directory]


def test_one_frame_of_all_runs(fleet):
    workdir, rows = fleet
    frame = engine.open_runs(f"{workdir}/*")
    assert list(frame.columns[:4]) == ["run", "checkpoint", "revision", "step"]
    done = sorted((row["run"] for row in rows if row["status"] == "done"), key=lambda n: int(n.split("-")[1]))
    assert list(dict.fromkeys(frame["run"])) == done
    assert list(dict.fromkeys(frame["step"])) == [0, 2, 10, 100]
    alone = engine.open_run(workdir / done[2]).matrices
    part = frame[frame["run"] == done[2]].reset_index(drop=True)[list(alone.columns)]
    pd.testing.assert_frame_equal(part, alone)
    few = engine.open_runs(workdir, columns=["alpha", "name"])
    assert list(few.columns) == ["run", "checkpoint", "revision", "step", "alpha", "name"]
    with pytest.raises(RunError, match="'alpah' is a column of none"):
        engine.open_runs(workdir, columns=["alpah"])
    with pytest.raises(RunError, match="no run directory of a finished sweep"):
        engine.open_runs(f"{workdir}/nothing*")


def directories(fleet):
    return {row["checkpoint"]: fleet[0] / row["run"] for row in fleet[1] if row["status"] == "done"}


def test_scatter_over_scores_dates_and_sizes(fleet, tmp_path):
    table = tmp_path / "scores.csv"
    table.write_text(
        "model,accuracy,released\nstep-0,0.1,2024-01-01\nstep-2,0.2,2024-02-01\nstep-10,0.5,\nstep-100,0.9,2024-04-01\n"
    )
    found = scatter.scatter(directories(fleet), ["spectral_norm"], table, "mean")
    assert found.models == ["step-0", "step-2", "step-10", "step-100"]
    assert found.dates == {"released"}
    frame = runs.open_runs(list(directories(fleet).values()))
    np.testing.assert_allclose(
        found.measures["spectral_norm"], frame.groupby("run", sort=False)["spectral_norm"].mean()
    )
    rows = {row["score"]: row for row in scatter.write_scatter(found, tmp_path)}
    expected = stats.spearmanr([0.1, 0.2, 0.5, 0.9], found.measures["spectral_norm"])[0]
    assert rows["accuracy"]["spearman"] == pytest.approx(expected)
    assert rows["accuracy"]["models"] == 4
    assert rows["released"]["models"] == 3
    assert np.isnan(rows["parameters"]["spearman"])  # all of one size
    written = pd.read_parquet(tmp_path / "scatter.parquet").set_index("model")
    assert written.loc["step-10", "accuracy"] == 0.5
    assert (tmp_path / "figures" / "scatter_spectral_norm.png").stat().st_size > 5000
    assert max(map(len, scatter.render(list(rows.values())).splitlines())) <= 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model,a\nstep-0,x\n", r"scores.csv:2: 'a': 'x' is neither a number nor a date"),
        ("model,a\nstep-0,inf\n", "no finite number"),
        ("model,a\nother,1\n", "names none of the 4 models"),
        ("model,a\nstep-0,1,2\n", "scores.csv:2: 3 cells, the heading has 2"),
        ("model,a\nstep-0,1\nstep-0,2\n", r"scores.csv:3: 'step-0' is the model of line 2 again"),
        ("model,a\nstep-0,1\nstep-2,2024-01-01\n", "both numbers and dates"),
        ("model,parameters\nstep-0,1\n", "a name of its own"),
        ("", "expected a heading"),
    ],
)
def test_scores_that_do_not_serve_are_named(fleet, tmp_path, text, says):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(RunError, match=says):
        scores.read_scores(tmp_path / "scores.csv", directories(fleet))


def test_a_measure_that_is_no_number_is_refused(fleet):
    with pytest.raises(RunError, match="role"):
        scatter.scatter(directories(fleet), ["role"])


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["o/n@step0", "o/n@step1000"], [0, 1000]),
        (["a/checkpoint-5/", "a/checkpoint-20"], [5, 20]),
        (["x/stage1-step10-tokens4B", "x/stage1-step20k-tokens8B"], [10, 20000]),
        (["m/global_step7", "m/iter_0000008"], [7, 8]),
        (["run1/weights-3", "run1/weights-12"], [3, 12]),
    ],
)
def test_steps_are_read_from_names(names, steps):
    assert steps_of(names) == steps


@pytest.mark.parametrize(
    ("names", "given", "says"),
    [
        (["o/n@main", "o/n@step5"], (), "no training step can be read from 'o/n@main'.*--steps="),
        (["a/v1-2", "a/v2-3"], (), "no training step"),
        (["a/step-5", "b/step-5"], (), "are both step 5"),
        (["a", "b"], (1, 2, 3), "--steps has 3 numbers, and there are 2 checkpoints"),
    ],
)
def test_names_without_steps_are_refused_in_one_line(names, given, says):
    with pytest.raises(RunError, match=says):
        steps_of(names, given)


@pytest.fixture(scope="module")
def series(models, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("series")
    return run_series(sources.sources_of(f"{models}/*"), SeriesOptions(**SMALL), workdir)


def test_a_series_has_every_step_and_names_what_is_left_out(series, models):
    assert series.manifest["steps"] == [0, 2, 10, 100]
    assert [text.split(":")[0] for text in failed_in(series)] == [f"{models}/step-30"]
    frame = series.matrices
    assert list(frame.columns[:4]) == ["run", "checkpoint", "revision", "step"]
    alone = engine.open_run(series.directory / "step-00000010").matrices
    pd.testing.assert_frame_equal(frame[frame["step"] == 10].reset_index(drop=True)[list(alone.columns)], alone)


def test_outliers_are_trajectories(series):
    """The planted direction is followed from the first step on, also where it is inside the bulk."""
    values = series.values[(series.values["side"] == "right") & (series.values["name"] == "q_proj.weight")]
    first = values[values["rank"] == 1].set_index("step")
    assert list(first.index) == [0, 2, 10, 100]
    assert list(first["outside"]) == [False, False, True, True]
    for step, row in first.iterrows():
        run = engine.open_run(series.directory / f"step-{step:08d}")
        spectrum = run.spectra.set_index("name").loc["q_proj.weight", "singular_values"]
        assert row["value"] == spectrum[0]
        assert row["edge"] == run.matrices.set_index("name").loc["q_proj.weight", "nu_plus"]


def test_the_table_of_steps_counts_what_the_runs_say(series):
    table = summary.step_table(series).set_index("step")
    for step in (0, 100):
        rows = engine.open_run(series.directory / f"step-{step:08d}").matrices
        assert table.loc[step, "right"] == rows["num_right_outliers"].sum()
        assert table.loc[step, "alpha"] == pytest.approx(rows["alpha"].median())
        assert table.loc[step, "random-like"] == (rows["phase"] == "random-like").sum()
    text = summary.render(series)
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[1].split()[0] == "0"


def test_a_series_shows_itself(series):
    assert open_series(series.directory).matrices.equals(series.matrices)
    headings = [chart["heading"] for chart in view_of(series).data["charts"]]
    assert headings[:2] == ["Phases by step", "Outliers as trajectories"]
    assert set(figures_of(series)) == {"series_phases", "series_measures", "series_outliers"}
    page = engine.write_report(series)
    assert page.read_text().startswith("<!doctype html>")


def test_a_series_without_any_checkpoint_is_refused(models, tmp_path):
    with pytest.raises(RunError, match=r"none of the 1 checkpoints could be swept: .*step-30"):
        run_series([str(models / "step-30")], SeriesOptions(**SMALL), tmp_path)
    assert not (tmp_path / "series.json").exists()


def test_a_series_goes_on_where_it_was_and_takes_new_steps(models, tmp_path):
    options = SeriesOptions(**SMALL)
    whole = sources.sources_of(f"{models}/step-*")
    first = run_series([whole[0], whole[2]], options, tmp_path)
    assert first.manifest["steps"] == [0, 10]
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("step-*/*.parquet")}
    assert len(before) >= 4
    found = run_series([whole[1], whole[2], whole[0]], options, tmp_path)
    assert found.manifest["steps"] == [0, 2, 10]
    assert {p: p.stat().st_mtime_ns for p in before} == before
