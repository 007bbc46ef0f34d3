"""The comparison's page in a browser, its figures, what `run.compare` says, and the script that takes several runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from absl.testing import flagsaver

from eigensweep.bin.runner import UserError
from eigensweep.engine import CompareOptions, RunError, compare, open_comparison, write_comparison, write_report
from eigensweep.engine.report import style
from eigensweep.engine.studies.compare import roles
from eigensweep.engine.studies.compare.figures import figures_of
from eigensweep.engine.studies.compare.stack import labels_of
from eigensweep.engine.studies.compare.summary import by_role, largest, render


@pytest.fixture(scope="module", autouse=True)
def _load(entry_point):
    global script
    script = entry_point("report")


class Checkpoint:
    """Matrices with the names of a run."""

    def __init__(self, matrices):
        self.matrices = [Matrix(*each) for each in matrices]


class Matrix:
    def __init__(self, name, role, block, w):
        self.name, self.role, self.block, self.w, self.expert = name, role, block, w.astype(np.float32), None
        self.shape, self.dtype = w.shape, "float32"

    def read(self):
        return self.w


@pytest.fixture(scope="module")
def training(make_run, make_spiked, tmp_path_factory):
    """Three steps of a training in which the query matrix gains a spike a step, as run directories and checkpoints."""
    root = tmp_path_factory.mktemp("runs")
    runs, checkpoints = [], []
    for step, spikes in ((100, 0), (200, 1), (300, 3)):
        rng = np.random.default_rng(7)
        matrices = [
            *((f"h.{b}.q.weight", "query", b, make_spiked(rng, 40, 40, spikes)) for b in range(3)),
            ("v.weight", "value", 0, make_spiked(rng, 40, 40, 0)),
        ]
        runs.append(make_run(matrices, directory=root / f"step-{step}", source=f"made/step-{step}"))
        checkpoints.append(Checkpoint(matrices))
    return runs, checkpoints


@pytest.fixture(scope="module")
def compared(training, tmp_path_factory):
    runs, checkpoints = training
    directory = tmp_path_factory.mktemp("compared") / "run"
    return compare(runs, CompareOptions(top=3, num_resamples=100), directory, checkpoints=checkpoints)


@pytest.fixture(scope="module")
def page_of(compared):
    return write_report(compared)


def test_series_follow_the_tables(training):
    runs, _ = training
    found = roles.series(runs, "num_right_outliers")
    expected = [run.matrices[run.matrices["role"] == "query"]["num_right_outliers"].sum() for run in runs]
    np.testing.assert_array_equal(found["query"], expected)
    assert list(found) == ["query", "value"]
    assert expected[2] > expected[0]


def test_labels_tell_runs_apart(training):
    runs, _ = training
    assert labels_of(runs) == ["step-100", "step-200", "step-300"]
    assert len(set(labels_of([runs[0], runs[0]]))) == 2


def test_steps_and_summaries(compared):
    assert [run["step"] for run in compared.runs] == [100, 200, 300]
    table = by_role(compared)
    rows = compared.comparison
    row = table[(table["role"] == "query") & (table["measure"] == "stable_rank") & (table["other"] == "step-300")].iloc[
        0
    ]
    mine = rows[(rows["role"] == "query") & (rows["measure"] == "stable_rank") & (rows["other"] == "step-300")]
    assert row["difference"] == pytest.approx(mine["difference"].mean())
    assert row["low"] <= row["difference"] <= row["high"]
    sizes = largest(table)["size"].abs().dropna().to_numpy()
    assert (np.diff(sizes) <= 0).all()
    said = render(compared)
    assert "step-100 -> step-300: 4 pairs (4 by name)" in said
    assert max(map(len, said.splitlines())) <= 100


def test_figures_show_the_tables(compared):
    with style.context():
        drawn = {name: draw() for name, draw in figures_of(compared).items()}
    assert set(drawn) == {"differences", "moved", "spread"}
    first = drawn["moved"].axes[0].get_lines()[0]
    moved = compared.moved[(compared.moved["other"] == "step-200") & (compared.moved["role"] == "query")]
    np.testing.assert_allclose(first.get_ydata(), moved["relative"])
    assert drawn["moved"].texts[0].get_text().startswith("query moved most, by ")


def rows_shown(page):
    return [row.split("\t") for row in page.locator("#differences tbody tr").all_inner_texts()]


def test_the_page_sorts_and_finds_what_the_tables_say(visit, page_of, compared):
    page = visit(page_of, "view=compare")
    table = compared.comparison[compared.comparison["other"] == "step-200"]
    page.locator("#every").check()
    shown = rows_shown(page)
    top = table.loc[table["size"].abs().sort_values(ascending=False).index]
    assert abs(float(shown[0][7].replace("−", "-"))) == pytest.approx(top["size"].abs().iloc[0], rel=5e-3)
    page.locator("#find").fill("value stable_rank")
    page.locator("#differences tbody tr").nth(1).wait_for(state="detached")
    row = table[(table["role"] == "value") & (table["measure"] == "stable_rank")].iloc[0]
    (cells,) = rows_shown(page)
    assert cells[:4] == ["v.weight", "value", "0", "stable_rank"]
    assert float(cells[4]) == pytest.approx(row["value"], rel=5e-3)
    assert page.evaluate("document.activeElement.id") == "find"
    page.locator("#find").fill("")
    page.locator("#by-run").click()
    page.locator("th[aria-sort=descending] #by-run").wait_for()
    page.locator("#differences tbody tr").nth(1).wait_for()
    values = [float(cells[4].replace("−", "-").replace("∞", "inf")) for cells in rows_shown(page)]
    assert values == sorted(values, reverse=True)


def test_the_slider_goes_through_the_runs_by_mouse_and_keys(visit, page_of):
    page = visit(page_of, "view=compare&pair=h.1.q.weight")
    assert page.locator("h2").first.inner_text() == "step-100 → step-200"
    page.locator("#couple").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("h2").first.inner_text() == "step-100 → step-300"
    assert page.evaluate("document.activeElement.id") == "couple"
    assert page.locator("#couple").get_attribute("aria-valuetext") == "step-100 → step-300, step 300"
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowLeft")
    assert page.locator("h2").first.inner_text() == "step-100 → step-200"
    assert page.locator("h3").first.inner_text() == "h.1.q.weight"
    page.keyboard.press("ArrowDown")
    assert page.locator("h3").first.inner_text() == "h.2.q.weight"


def test_overlaid_spectra_are_the_tables(visit, page_of, compared):
    page = visit(page_of, "view=compare&pair=h.1.q.weight&couple=1")
    place = int(np.flatnonzero((compared.pairs["pair"] == "h.1.q.weight") & (compared.pairs["other"] == "step-300"))[0])
    held = page.evaluate(
        "([place]) => { const { spectra } = ES.data.studies[0].data.compare; let from = 0;"
        " for (let i = 0; i < 3 * place + 1; i++) from += spectra.count[i];"
        " return [...ES.unthinned(spectra.index.subarray(from, from + spectra.count[3 * place + 1]),"
        " spectra.value.subarray(from, from + spectra.count[3 * place + 1]), spectra.size[3 * place + 1])]; }",
        [place],
    )
    np.testing.assert_allclose(held, compared.pairs["singular_values_other"][place], rtol=1e-4)
    assert page.locator("main figure").count() == 2
    for kind in ("control", "raw", "law"):
        assert page.locator(f"main figure >> nth=0 >> path.{kind}.line").count() == 1
    facts = page.locator("main dl").inner_text()
    moved = compared.moved.set_index(["other", "pair"]).loc[("step-300", "h.1.q.weight")]
    assert f"|W′ − W| / |W| = {moved['relative']:.3g}" in facts


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])
def test_it_fits_and_can_be_heard(visit, page_of, width, theme):
    axe = pytest.importorskip("axe_playwright_python")
    page = visit(page_of, "view=compare", width, theme)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    page.evaluate(f"() => {{ {Path(axe.__file__).with_name('axe.min.js').read_text('utf-8')} }}")
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    assert [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found] == []


def test_script_draws_one_run_from_its_directory(training, capsys, data_of):
    directory = training[0][2].directory
    with flagsaver.flagsaver((script._RUN, [str(directory)]), (script._OUT, None), (script._FIGURES, False)):
        script.main()
    assert capsys.readouterr().out.strip() == str(directory / "report.html")
    assert "v.weight" in data_of((directory / "report.html").read_text("utf-8"))["rows"]["name"]


def test_script_compares_several(training, tmp_path, capsys, data_of):
    directories = [str(run.directory) for run in training[0]]
    with flagsaver.flagsaver((script._RUN, directories), (script._OUT, str(tmp_path / "out"))):
        script.main()
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    assert [run["run"] for run in open_comparison(tmp_path / "out").runs] == ["step-100", "step-200", "step-300"]
    held = data_of((tmp_path / "out" / "report.html").read_text("utf-8"))["studies"][0]["data"]["compare"]
    assert [c["other"] for c in held["couples"]] == ["step-200", "step-300"]
    with pytest.raises(RunError, match="holds another compare"):
        write_comparison(training[0][:2], tmp_path / "out")


def test_a_comparison_takes_two(training, tmp_path):
    with pytest.raises(ValueError, match="at least two runs, not 1"):
        write_comparison(training[0][:1], tmp_path)


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


def test_a_manifest_without_its_runs_is_refused(compared, tmp_path):
    directory = shutil.copytree(compared.directory, tmp_path / "run")
    manifest = json.loads((directory / "compare.json").read_text())
    (directory / "compare.json").write_text(json.dumps(manifest | {"runs": [{"run": "a"}]}))
    with pytest.raises(RunError, match=r"compare\.json: is damaged: runs"):
        open_comparison(directory)
