"""The page's tabs of studies in a browser: charts and tables are the studies' numbers, whatever their names."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from eigensweep.engine import open_ablation, open_finetune, open_overlap
from eigensweep.engine.report.charts import Axis, Chart, Panel, Series, as_data
from eigensweep.engine.studies import load, write_report
from eigensweep.engine.studies.finetune.effects import effects

spec = importlib.util.spec_from_file_location("directories", Path(__file__).with_name("test_directories.py"))
directories = importlib.util.module_from_spec(spec)
spec.loader.exec_module(directories)
make_sweep, make_overlap = directories.make_sweep, directories.make_overlap
make_ablation, make_finetune = directories.make_ablation, directories.make_finetune
HOSTILE = directories.HOSTILE
CHARTS = "name => ES.data.studies.find(s => s.name === name).data.charts"


@pytest.fixture(scope="module")
def pages(make_overlap, make_ablation, make_finetune, tmp_path_factory):
    """report.html of every study, by its name."""
    load()
    found = {}
    for name, make in (("overlap", make_overlap), ("ablation", make_ablation), ("finetune", make_finetune)):
        directory = tmp_path_factory.mktemp(name)
        make(directory)
        found[name] = write_report(directory)
    return found


def charts_of(page, name):
    """The study's charts as the browser has them, arrays as lists."""
    return page.evaluate(
        f"name => JSON.parse(JSON.stringify(({CHARTS})(name), (k, v) => v instanceof Float32Array ? [...v] : v))", name
    )


def test_changes_of_the_loss_are_the_tables(visit, pages):
    page = visit(pages["ablation"], "view=studies&study=ablation")
    loss, accuracy = charts_of(page, "ablation")
    results = open_ablation(pages["ablation"].parent).results
    assert [panel["title"] for panel in loss["panels"]] == ["query", HOSTILE]
    for panel in loss["panels"]:
        rows = results[(results["scope"] == panel["title"]) & (results["kind"] == "decile")]
        series = next(s for s in panel["series"] if s["name"] == "a tenth of the values")
        assert series["x"] == list(range(1, 11))
        for key, column in (("y", "change"), ("low", "change_low"), ("high", "change_high")):
            assert series[key] == pytest.approx(rows[column], rel=1e-4)
        outliers = next(s for s in panel["series"] if s["name"] == "outliers")
        row = results[(results["scope"] == panel["title"]) & (results["removal"] == "outliers:right")]
        assert outliers["y"] == pytest.approx(row["change"], rel=1e-4)
    assert accuracy["heading"] == "Change of the accuracy"
    drawn = page.locator("section.plot").first.locator("svg.chart")
    assert drawn.count() == 2
    assert drawn.first.locator("path.raw.dots").get_attribute("d").count("M") == 10
    assert page.locator("h3").first.inner_text() == "Change of the loss"
    assert "baseline 2.0000 nats on 10 targets" in page.locator("main").inner_text()


def test_tables_sort_by_their_numbers(visit, pages):
    page = visit(pages["ablation"], "view=studies")
    table = page.locator(".isolated table").first
    changes = open_ablation(pages["ablation"].parent).results["change"].iloc[1:]
    heading = table.locator("thead button").nth(4)
    assert heading.inner_text() == "loss"
    heading.click()
    assert heading.locator("..").get_attribute("aria-sort") == "ascending"
    column = lambda: [float(x) for x in table.locator("tbody tr td:nth-child(5)").all_inner_texts()]  # noqa: E731
    assert column() == pytest.approx(sorted(2 + changes), abs=1e-4)
    heading.click()
    assert column() == pytest.approx(sorted(2 + changes, reverse=True), abs=1e-4)
    names = table.locator("tbody th").all_inner_texts()
    assert set(names) == {"query", HOSTILE}


def test_hover_tells_the_interval(visit, pages):
    page = visit(pages["ablation"], "view=studies")
    svg = page.locator("svg.chart").first
    points = svg.locator("path.raw.dots").get_attribute("d")
    x, y = (float(v) for v in points[1:].split("h0")[2].lstrip("M").split())
    box = svg.bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    said = page.locator("#tip").inner_text().split("\n")
    row = open_ablation(pages["ablation"].parent).results.query("scope == 'query' and removal == 'decile:3'").iloc[0]
    assert said[0] == "a tenth of the values"
    assert said[2].endswith(": 3")
    assert float(said[1].split(" ")[0]) == pytest.approx(row["change"], rel=1e-3)


def test_overlaps_are_the_tables(visit, pages):
    page = visit(pages["overlap"], "view=studies&study=overlap")
    overlaps, covariances = charts_of(page, "overlap")
    found = open_overlap(pages["overlap"].parent)
    for panel in overlaps["panels"]:
        inside, outside, _ = panel["series"]
        members = found.matrices[found.matrices["role"] == panel["title"]]
        drawn = np.sort(inside["y"] + outside["y"])
        assert drawn == pytest.approx(np.sort(np.concatenate([*members["overlap"]])), rel=1e-4)
        assert [rule["at"] for rule in panel["rules"][:2]] == [0.3, 0.5]
    evals = np.asarray(found.covariances["evals"][0])
    assert covariances["panels"][0]["series"][0]["y"] == pytest.approx(evals / evals.sum(), rel=1e-4)
    assert page.locator("nav.tabs a").all_inner_texts() == ["Sweep", "Overlap"]
    page.get_by_role("link", name="Sweep").click()
    assert page.evaluate("ES.state.study") == "sweep"


def test_fine_tuning_is_the_tables(visit, pages):
    page = visit(pages["finetune"], "view=studies")
    curves, loss, accuracy, moved, p_values = charts_of(page, "finetune")
    run = open_finetune(pages["finetune"].parent)
    expected = {(row["order"]): row for row in effects(run)}
    for panel, order in zip(loss["panels"], ("before", "after"), strict=True):
        series = panel["series"][0]
        assert series["name"] == HOSTILE
        row = expected[order]
        assert [series[key][0] for key in ("y", "low", "high")] == pytest.approx(
            [row[key] for key in ("change", "low", "high")], rel=1e-4
        )
        assert panel["series"][1]["y"] == pytest.approx(row["seeds"], rel=1e-4)
    assert "in accuracy" in accuracy["seen"]
    assert len(curves["panels"][0]["series"]) == 2 * 2
    assert all(y == pytest.approx(10, rel=1e-3) for panel in moved["panels"] for y in panel["series"][0]["y"])
    assert {panel["title"] for panel in p_values["panels"]} == {"query", HOSTILE}
    assert page.locator("svg.chart").count() == 1 + 2 + 2 + 2 + 2


@pytest.mark.parametrize("name", ["overlap", "ablation", "finetune"])
def test_a_phone_shows_all_of_it(visit, pages, name):
    page = visit(pages[name], f"view=studies&study={name}", width=390, theme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelectorAll('*').length") < 3000
    assert all(page.evaluate("[...document.querySelectorAll('svg.chart')].map(s => s.ariaLabel)"))


def test_charts_become_plain_data():
    """float32 of five digits; NaN and infinity stay; what is absent is left out."""
    series = Series("a", [1, 2, 3, 4], np.array([np.nan, np.inf, 1 / 3, -1e-20]))
    chart = Chart("h", "s", "n", "r", Axis("x"), Axis("y", "symlog", 0.1, limits=(-1, 1)), [Panel("p", [series])])
    data = as_data(chart)
    assert data["y"] == {"label": "y", "scale": "symlog", "threshold": 0.1, "limits": [-1, 1]}
    drawn = data["panels"][0]["series"][0]
    assert "low" not in drawn
    assert drawn["y"].dtype == np.float32
    assert drawn["y"] == pytest.approx([np.nan, np.inf, 1 / 3, -1e-20], rel=1e-4, nan_ok=True)


def test_averages_alone_are_no_single_p_values(visit, pages):
    """A removal study's spectra hold averaged p-values: nothing is called rejected, no single p is told."""
    page = visit(pages["ablation"], "view=matrix")
    assert page.locator("path.dots.single, path.rug.rejected[d*=M]").count() == 0
    svg = page.locator("svg.chart").nth(2)
    assert "averages alone" in svg.get_attribute("aria-label")
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    said = page.locator("#tip").inner_text()
    assert "p right = –, p left = –" in said
    assert "mean of 15: 0." in said
