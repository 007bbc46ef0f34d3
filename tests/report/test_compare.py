"""Several runs beside each other, and the script that draws runs from their directories."""

import re

import numpy as np
import pytest
from absl.testing import flagsaver

from eigensweep.bin.runner import UserError
from eigensweep.engine import RunError, open_run, write_comparison
from eigensweep.engine.report import style
from eigensweep.engine.studies import comparison
from eigensweep.engine.studies.sweep.options import controls_of


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
        runs.append(make_run(matrices, directory=root / f"step-{step}"))
    return runs


def test_series_follow_the_tables(training):
    found = comparison.series(training, "num_right_outliers")
    expected = [run.matrices.set_index("name").loc["q.weight", "num_right_outliers"] for run in training]
    np.testing.assert_array_equal(found["query"], expected)
    assert list(found) == ["query", "value"]
    assert expected[2] > expected[0]


def test_figure_draws_a_line_a_role(training):
    with style.context():
        figure = comparison.draw(training, comparison.labels_of(training))
    axes = next(a for a in figure.axes if a.get_title(loc="left") == "stable rank, median")
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["query"], comparison.series(training, "stable_rank")["query"])
    assert [t.get_text() for t in figure.axes[3].get_xticklabels()] == ["step-100", "step-200", "step-300"]
    assert comparison.title(training, ["a", "b", "c"])[0].startswith("query: ")


def test_labels_tell_runs_apart(training, make_run):
    assert comparison.labels_of(training) == ["step-100", "step-200", "step-300"]
    assert len(set(comparison.labels_of([training[0], training[0]]))) == 2


def test_a_comparison_takes_two(training, tmp_path):
    with pytest.raises(ValueError, match="at least two runs, not 1"):
        write_comparison(training[:1], tmp_path)


def test_script_draws_one_run_from_its_directory(training, capsys, data_of):
    directory = training[2].directory
    with flagsaver.flagsaver((script._RUN, [str(directory)]), (script._OUT, None), (script._FIGURES, True)):
        script.main()
    assert capsys.readouterr().out.strip() == str(directory / "report.html")
    assert "q.weight" in data_of((directory / "report.html").read_text("utf-8"))["rows"]["name"]
    assert (directory / "figures" / "spectrum_query.pdf").is_file()


def test_script_compares_several(training, tmp_path, capsys):
    directories = [str(run.directory) for run in training]
    with flagsaver.flagsaver((script._RUN, directories), (script._OUT, str(tmp_path / "out"))):
        script.main()
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "comparison.html")
    text = (tmp_path / "out" / "comparison.html").read_text("utf-8")
    assert all(f"step-{step}" in text for step in (100, 200, 300))
    counts = [run.matrices["num_right_outliers"][0] for run in training]
    row = text[text.index('<th scope="row">q.weight') :]
    assert [cell.split(",")[0] for cell in row.split("<td>")[1:4]] == [str(c) for c in counts]


def test_each_runs_control_is_named_and_counted(make_run, make_spiked, run_of_frames, tmp_path):
    w = make_spiked(np.random.default_rng(3), 40, 40, 2)
    kinds = {"none": "", "gaussian": "gaussian", "permutation": "permutation", "both": "gaussian"}
    for i, chosen in enumerate(kinds):
        run = make_run([("q.weight", "query", 0, w)], control=chosen)
        counts = {f"control_{kind}_num_right_outliers": 10 * i + j for j, kind in enumerate(controls_of(chosen))}
        run_of_frames(run.matrices.assign(**counts), run.spectra, run.manifest, tmp_path / chosen)
    runs = [open_run(tmp_path / chosen) for chosen in kinds]
    text = write_comparison(runs, tmp_path / "out").read_text("utf-8")
    matrices = text[text.index("<h2>Matrices</h2>") :]
    headings = re.findall(r'<th scope="col">([^<]*)</th>', matrices)
    named = [f"{chosen} ({kind})" if kind else chosen for chosen, kind in kinds.items()]
    assert headings == ["matrix", *named]
    cells = re.findall(r"<td>([^<]*)</td>", matrices)
    assert [re.findall(r"\((\d+),", cell) for cell in cells] == [[], ["10"], ["20"], ["30"]]


@pytest.mark.parametrize(
    ("runs", "out", "message"),
    [([], None, "no --run"), (["a", "b"], None, "need --out"), (["/nowhere"], None, "/nowhere")],
)
def test_script_says_what_is_wrong(runs, out, message):
    with (
        flagsaver.flagsaver((script._RUN, runs), (script._OUT, out)),
        pytest.raises((UserError, RunError), match=message),
    ):
        script.main()
