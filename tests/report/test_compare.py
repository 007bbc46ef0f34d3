"""Several runs beside each other, and the script that draws runs from their directories."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from absl.testing import flagsaver

from eigensweep.bin.cli import UserError
from eigensweep.engine.report import compare, style, write_comparison


@pytest.fixture(scope="module", autouse=True)
def _load(entry_point):
    global script
    script = entry_point("report")


@pytest.fixture(scope="module")
def training(make_run, make_spiked, tmp_path_factory):
    """Three steps of a training in which the query matrix gains a spike a step, as run directories."""
    root = tmp_path_factory.mktemp("runs")
    runs = []
    for step, spikes in ((100, 0), (200, 1), (300, 3)):
        rng = np.random.default_rng(7)
        matrices = [
            ("q.weight", "query", 0, make_spiked(rng, 40, 40, spikes)),
            ("v.weight", "value", 0, make_spiked(rng, 40, 40, 0)),
        ]
        directory = root / f"step-{step}"
        run = make_run(matrices, directory=directory)
        directory.mkdir()
        for name, frame in (("matrices", run.matrices), ("spectra", run.spectra)):
            pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), directory / f"{name}.parquet")
        (directory / "manifest.json").write_text(json.dumps(run.manifest))
        runs.append(run)
    return runs


def test_series_follow_the_tables(training):
    found = compare.series(training, "num_right_outliers")
    expected = [run.matrices.set_index("name").loc["q.weight", "num_right_outliers"] for run in training]
    np.testing.assert_array_equal(found["query"], expected)
    assert list(found) == ["query", "value"]
    assert expected[2] > expected[0]


def test_figure_draws_a_line_a_role(training):
    with style.context():
        figure = compare.draw(training, compare.labels_of(training))
    axes = next(a for a in figure.axes if a.get_title(loc="left") == "stable rank, median")
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["query"], compare.series(training, "stable_rank")["query"])
    assert [t.get_text() for t in figure.axes[3].get_xticklabels()] == ["step-100", "step-200", "step-300"]
    assert compare.title(training, ["a", "b", "c"])[0].startswith("query: ")


def test_labels_tell_runs_apart(training, make_run):
    assert compare.labels_of(training) == ["step-100", "step-200", "step-300"]
    assert len(set(compare.labels_of([training[0], training[0]]))) == 2


def test_a_comparison_takes_two(training, tmp_path):
    with pytest.raises(ValueError, match="at least two runs, not 1"):
        write_comparison(training[:1], tmp_path)


def test_script_draws_one_run_from_its_directory(training, capsys):
    directory = training[2].directory
    with flagsaver.flagsaver((script._RUN, [str(directory)]), (script._OUT, None)):
        script.main(["report"])
    assert capsys.readouterr().out.strip() == str(directory / "report.html")
    assert "q.weight" in (directory / "report.html").read_text("utf-8")
    assert (directory / "figures" / "spectrum_query.pdf").is_file()


def test_script_compares_several(training, tmp_path, capsys):
    directories = [str(run.directory) for run in training]
    with flagsaver.flagsaver((script._RUN, directories), (script._OUT, str(tmp_path / "out"))):
        script.main(["report"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "comparison.html")
    text = (tmp_path / "out" / "comparison.html").read_text("utf-8")
    assert all(f"step-{step}" in text for step in (100, 200, 300))
    counts = [run.matrices["num_right_outliers"][0] for run in training]
    row = text[text.index('<th scope="row">q.weight') :]
    assert [cell.split(",")[0] for cell in row.split("<td>")[1:4]] == [str(c) for c in counts]


@pytest.mark.parametrize(
    ("runs", "out", "message"),
    [([], None, "no --run"), (["a", "b"], None, "need --out"), (["/nowhere"], None, "/nowhere")],
)
def test_script_says_what_is_wrong(runs, out, message):
    with (
        flagsaver.flagsaver((script._RUN, runs), (script._OUT, out)),
        pytest.raises(UserError, match=message),
    ):
        script.main(["report"])
