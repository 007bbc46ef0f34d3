"""The page's view of a matrix in a browser: what it draws is what the tables hold; keys, pins, hover, files."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from eigensweep.engine import write_report
from eigensweep.engine.report import spectrum
from eigensweep.engine.report.page import details
from eigensweep.engine.spectral import edges, ks
from eigensweep.engine.spectral.kept import chosen, histogram
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg
from eigensweep.engine.spectral.null import table
from eigensweep.engine.tables.kept import BINS, END

NAME = "block.{}.{}.weight"
SIDES = ("right", "left")
REJECTED = [30, 0, 7, 2]  # p = 1e-4, 1e-5, ...
READING = """([row, prefix]) => {
  const r = ES.reading(row, prefix), side = s => ({...r.p[s], index: [...r.p[s].index], p: [...r.p[s].p],
    avg: [...r.p[s].avg], sd: [...r.p[s].sd]});
  const law = ES.marchenkoPastur(r);
  return {...r, values: [...r.values], p: {right: side('right'), left: side('left')},
    law: [0.3, 0.8, 1.2].map(law.density), edges: [law.low, law.high]};
}"""


def matrices(d=48, hidden=96):
    """Three blocks of three roles and an embedding."""
    rng = np.random.default_rng(3)
    shapes = {"query": (d, d), "key": (d, d), "mlp_up": (hidden, d)}
    found = [("embedding.weight", "embedding", None, rng.standard_normal((3 * d, d)))]
    for block in range(3):
        for role, shape in shapes.items():
            u, v = (rng.laplace(size=size) for size in shape)
            spike = np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
            found.append((NAME.format(block, role), role, block, rng.standard_normal(shape) + 40 * spike))
    return found


def with_kept(run, of):
    """The run with the columns of `tables.kept`, an equalised reading (the control's), and rejected vectors."""
    rows, spectra = run.matrices.copy(), run.spectra.copy()
    for frame in (rows, spectra):
        for name in [c for c in frame if c.startswith("control_gaussian_")]:
            frame[name.replace("control_gaussian_", "equalised_")] = frame[name]
    lists = {
        f"{what}_{side}{end}": [] for what, end in (("kept", ""), ("kept", "_counts"), ("ks", "")) for side in SIDES
    }
    for _, _, _, w in of:
        u, _, vt = np.linalg.svd(w, full_matrices=False)
        for side, vectors in (("right", vt), ("left", u.T)):
            d = ks.ks_statistic(vectors)
            index = chosen(d, np.ones(d.size, bool))
            lists[f"ks_{side}"].append(d)
            lists[f"kept_{side}"].append(index)
            lists[f"kept_{side}_counts"].append(histogram(vectors[index], BINS, END).ravel())
    for side in SIDES:
        rows[f"rejected_{side}"] = len(REJECTED)
        for i, p in enumerate(spectra[f"p_{side}"]):
            p = p.copy()
            p[REJECTED] = 10.0 ** -np.arange(4, 4 + len(REJECTED))
            spectra.at[i, f"p_{side}"], spectra.at[i, f"p_{side}_avg"] = p, ks.local_average(p)
    return rows, pd.concat([spectra, pd.DataFrame(lists)], axis=1)


@pytest.fixture(scope="module")
def swept(make_run, run_of_frames):
    run = make_run(matrices())
    return run_of_frames(*with_kept(run, matrices()), run.manifest)


@pytest.fixture(scope="module")
def path(swept, tmp_path_factory):
    return write_report(swept, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def rows(swept):
    """Both tables' rows by name."""
    both = (frame.to_dict("records") for frame in (swept.matrices, swept.spectra))
    return {row["name"]: row | lists for row, lists in zip(*both, strict=True)}


def matrix(name, **state):
    return "&".join(f"{key}={value}" for key, value in ({"view": "matrix", "matrix": name} | state).items())


def same_reading(got, row, prefix):
    """What the browser has of a reading is what the tables hold, to its rounding."""
    a = max(row["m"], row["n"])
    unit = row[f"{prefix}sigma"] * a**0.5
    assert got["values"] == pytest.approx(row[f"{prefix}singular_values"] / unit, rel=3e-4)
    assert (got["right"], got["left"]) == tuple(row[f"{prefix}num_{side}_outliers"] for side in SIDES)
    for side, length in (("right", row["n"]), ("left", row["m"])):
        p, of = np.asarray(row[f"{prefix}p_{side}"]), got["p"][side]
        assert of["p"] == pytest.approx(p, rel=1e-3)
        assert of["avg"] == pytest.approx(row[f"{prefix}p_{side}_avg"], abs=1e-3)
        assert of["sd"] == pytest.approx(ks.local_average_sd(p, length), rel=1e-5)
        assert of["rejected"] == sorted(np.flatnonzero(benjamini_hochberg(p, 0.01)))
        assert len(of["rejected"]) == row[f"{prefix}rejected_{side}"] == (0 if prefix else len(REJECTED))
    grid, density = spectrum.law(row["m"], row["n"], got["right"], got["left"])
    assert got["edges"] == pytest.approx([max(grid[0], 0), grid[-1]], abs=1e-4)
    inside = [x for x in (0.3, 0.8, 1.2) if grid[0] < x < grid[-1]]
    drawn = [y for x, y in zip((0.3, 0.8, 1.2), got["law"], strict=True) if x in inside]
    assert drawn == pytest.approx(np.interp(inside, grid, density), rel=2e-3)
    if not prefix:
        limits = [side(row["m"], row["n"], 0.01) / a**0.5 for side in (edges.left_threshold, edges.right_threshold)]
        assert got["thresholds"] == pytest.approx(limits, rel=1e-6)


@pytest.mark.parametrize("name", ["embedding.weight", NAME.format(1, "mlp_up")])
def test_a_reading_is_the_tables(visit, path, rows, name):
    page = visit(path, matrix(name))
    for prefix in ("", "equalised_", "control_gaussian_"):
        same_reading(page.evaluate(READING, [list(rows).index(name), prefix]), rows[name], prefix)


@pytest.mark.parametrize("axes", ["", "log"])
def test_bins_hold_the_tables_values(visit, path, rows, axes):
    name = NAME.format(0, "query")
    page, row = visit(path, matrix(name, axes=axes)), rows[name]
    bins = page.evaluate(
        "(({limits, counts}) => [[...limits], [...counts[0]]])(document.querySelector('svg.chart').bins)"
    )
    values = np.asarray(row["singular_values"]) / (row["sigma"] * 48**0.5)
    counts = np.histogram(values, bins[0])[0]
    assert np.abs(np.cumsum(counts) - np.cumsum(bins[1])).max() <= 1  # a value at a limit
    assert len(bins[1]) == 60
    assert sum(bins[1]) == (48 if axes else np.sum(values <= bins[0][-1]))
    assert page.locator(".rug.right").first.get_attribute("d").count("M") == np.sum(
        values[: row["num_right_outliers"]] <= bins[0][-1]
    )


def test_arrow_keys_go_to_the_neighbours(visit, path):
    page = visit(path, matrix(NAME.format(0, "query")))
    for key, expected in (
        ("ArrowDown", NAME.format(1, "query")),
        ("ArrowRight", NAME.format(1, "key")),
        ("ArrowRight", NAME.format(1, "mlp_up")),
        ("ArrowRight", NAME.format(1, "mlp_up")),  # the last role
        ("ArrowUp", NAME.format(0, "mlp_up")),
        ("ArrowUp", NAME.format(0, "mlp_up")),  # the first block
        ("ArrowLeft", NAME.format(0, "key")),
    ):
        page.keyboard.press(key)
        assert page.evaluate("ES.state.matrix ?? ''") == expected
        assert f"matrix={expected}" in page.url
    page.locator("#role").focus()
    page.keyboard.press("ArrowDown")  # moves in the field, not in the model
    assert page.evaluate("ES.state.matrix.split('.')[1]") == "0"
    page.go_back()
    page.go_back()
    assert page.evaluate("ES.state.matrix") == NAME.format(0, "mlp_up")


def test_up_to_four_matrices_stand_beside_each_other(visit, path, rows):
    names = [NAME.format(block, role) for block, role in ((0, "query"), (1, "query"), (2, "key"), (0, "mlp_up"))]
    page = visit(path, matrix(names[0]))
    for name in names:
        page.evaluate("name => ES.go({matrix: name})", name)
        page.click("#pin")
    places = [list(rows).index(name) for name in names]
    assert page.evaluate("ES.state.pins") == ".".join(map(str, places))
    again = visit(path, page.url.split("#")[1])
    headings = again.locator("section.matrix h2").all_inner_texts()
    assert [heading.strip() for heading in headings] == names
    boxes = [box.bounding_box() for box in again.locator("section.matrix").all()]
    assert len({round(box["y"]) for box in boxes}) == 1
    assert again.evaluate("document.querySelectorAll('*').length") < 3000
    again.evaluate("name => ES.go({matrix: name})", "embedding.weight")
    assert again.locator("#pin").is_disabled()
    assert again.locator("section.matrix").count() == 4
    other = visit(path, matrix(names[0], pins="0.99.x.-1.1.5"))
    assert other.locator("section.matrix").count() == 3


def test_hover_names_index_value_and_p(visit, path, rows):
    name = NAME.format(1, "mlp_up")
    page, row = visit(path, matrix(name)), rows[name]
    svg = page.locator("svg.chart").nth(2)
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    for share in (0.2, 0.5, 0.9):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        said = page.locator("#tip").inner_text()
        i = int(re.match(r"index (\d+) of 48", said)[1]) - 1
        assert float(re.search(r"s = ([\d.e-]+)", said)[1]) == pytest.approx(row["singular_values"][i], rel=1e-3)
        for side in SIDES:
            assert float(re.search(rf"p {side} = ([\d.e-]+)", said)[1]) == pytest.approx(row[f"p_{side}"][i], rel=6e-3)
    page.mouse.move(2, 2)
    assert page.locator("#tip").is_hidden()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert page.evaluate("ES.state.vector") == f"right:{i + 1}"
    svg = page.locator("svg.chart").nth(2)
    marks = svg.locator("path.rug.rejected").get_attribute("d")
    assert marks.count("M") == svg.locator("path.dots.rejected").get_attribute("d").count("M") == len(REJECTED)
    assert f"{len(REJECTED)} of 48 rejected" in svg.get_attribute("aria-label")


def test_entries_of_a_vector_are_its_own(visit, path, rows):
    name = NAME.format(0, "mlp_up")
    row = rows[name]
    w = dict((n, w) for n, _, _, w in matrices())[name]
    vt = np.linalg.svd(w)[2]
    page = visit(path, matrix(name, vector="right:1"))
    points = page.evaluate("row => ES.distribution(ES.keptVectors(row)[0])", list(rows).index(name))
    z = np.array(points)[:, 0]
    v = vt[0] * np.sign(vt[0][np.abs(vt[0]).argmax()])  # its largest entry is positive
    expected = np.mean(v[:, None] * 48**0.5 < z, axis=0)
    assert np.array(points)[:, 1] == pytest.approx(expected, abs=1e-9)
    d = float(f"{row['ks_right'][0]:.3g}")
    assert f"D = {d}" in page.locator("section.matrix").text_content()
    assert "v 1: D in its null" in page.locator("section.matrix").inner_text()
    null = page.evaluate("ES.data.details.null.find(t => t.n === 48)")
    at = null["t"][40], null["log_p"][40]
    assert np.exp(at[1]) == pytest.approx(table.p_value_table(at[0] / 48**0.5, 48), rel=1e-3)
    page.locator(f"#vector-{list(rows).index(name)}").select_option(index=1)
    assert page.evaluate("ES.state.vector") == f"right:{row['kept_right'][1] + 1}"
    other = next(i for i in range(48) if i not in row["kept_left"])
    page.evaluate("i => ES.go({vector: `left:${i}`})", other + 1)
    assert f"the entries of u {other + 1} are not kept" in page.locator("section.matrix").inner_text()
    for x in (-2.5, -0.3, 0.0, 1.7):
        assert page.evaluate("x => ES.normal(x)", x) == pytest.approx(stats.norm.cdf(x), abs=1e-6)


def test_readings_are_toggled(visit, path):
    page = visit(path, matrix(NAME.format(0, "key")))
    assert page.locator("svg.chart").first.locator("path.raw.filled").count() == 1
    page.uncheck("#show-0")
    assert page.evaluate("ES.state.show") == "1.2"
    assert page.locator("svg.chart").first.locator("path.equalised.filled").count() == 1
    assert page.locator("path.raw:not(.trio path)").count() == 0
    page.uncheck("#show-1")
    assert page.locator("#show-2").is_disabled()  # something must be shown


def test_a_figure_is_a_file_of_its_own(visit, path, tmp_path):
    page = visit(path, matrix(NAME.format(2, "key")), accept_downloads=True)
    figure = page.locator("figure").first
    size = [round(float(x)) for x in figure.locator("svg").get_attribute("viewBox").split()[2:]]
    for kind in ("SVG", "PNG"):
        with page.expect_download() as saved:
            figure.get_by_role("button", name=kind).click()
        saved.value.save_as(tmp_path / saved.value.suggested_filename)
    drawing, picture = sorted(tmp_path.iterdir(), reverse=True)
    assert drawing.name == "block.2.key.weight_spectrum.svg"
    root = ET.parse(drawing).getroot()
    assert root.find("{*}title").text == "block.2.key.weight spectrum"
    paths = root.findall(".//{*}path")
    assert len(paths) > 10
    assert not any("class" in node.attrib or "style" in node.attrib for node in root.iter())
    assert {node.get("stroke") for node in paths} >= {"rgb(0, 114, 178)", "rgb(192, 78, 0)"}
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(data[i : i + 4], "big") for i in (16, 20)] == [3 * x for x in size]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_all_of_it(visit, path, theme):
    page = visit(path, matrix(NAME.format(0, "query"), pins="2.3.4"), width=390, theme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("svg.chart").count() == 4 * 7
    assert all(label for label in page.evaluate("[...document.querySelectorAll('svg.chart')].map(s => s.ariaLabel)"))
    page.locator("summary").first.click()
    page.locator("details[open] tbody tr").first.wait_for()  # filled by an event that follows the click
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_old_runs_and_failed_matrices_say_what_is_missing(visit, make_run, tmp_path):
    hostile = "<b>a&amp;b</b>\u202e.weight"
    of = [(hostile, "query", 0, np.random.default_rng(0).standard_normal((32, 24))), *matrices()[:1]]
    run = make_run(of, control="none", statuses={"embedding.weight": "not finite"})
    page = visit(write_report(run, tmp_path), "view=matrix")
    text = page.locator("section.matrix").inner_text()
    assert "<b>a&amp;b</b> .weight" in page.locator("h2").first.text_content()
    assert "This run keeps no entries of singular vectors" in text
    page.evaluate("ES.go({matrix: 'embedding.weight'})")
    assert "not finite" in page.locator("section.matrix").inner_text()
    page.evaluate("ES.go({matrix: 'nowhere'})")
    assert "No matrix is called" in page.locator("[role=alert]").inner_text()


def test_many_matrices_keep_fewer_vectors(swept, monkeypatch):
    """Those with the largest D; bins are joined in pairs; no count is lost."""
    prefixes = ("", "equalised_", "control_gaussian_")
    whole = details.packed_details(swept, prefixes)["kept"]
    monkeypatch.setattr(details, "COARSE", 5)
    monkeypatch.setattr(details, "FEW", 5)
    few = details.packed_details(swept, prefixes)["kept"]
    assert (few["bins"], set(few["count"])) == (BINS // 2, {2})
    first = swept.spectra.iloc[0]
    assert set(few["index"][:2]) == set(np.argsort(-first["ks_right"])[:2])
    assert sum(few["counts"][: few["bins"] + 2]) == sum(whole["counts"][: BINS + 2]) == 48
