"""The page in a real browser: what is shown, sorted, chosen and linked equals the tables, on a desktop and a phone."""

import csv
import io
import re
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pytest

from eigensweep.engine import write_report

VIEWS = ("findings", "map", "table", "scatter", "matrix", "studies")
HOSTILE = [
    "</script><img src=x onerror=\"document.title='had'\">",
    "מודל.0.query \u202e gnp.exe",
    "<b>&amp;" + "long" * 2500,
    '\'";--|\\ role="x" 100%',
]


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """page_of(run): its report."""
    return lambda run: write_report(run, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def small(run, page_of):
    return page_of(run)


@pytest.fixture(scope="module")
def hostile(make_run, make_spiked, page_of):
    rng = np.random.default_rng(0)
    matrices = [(name, name, i, make_spiked(rng, 24, 16, 1)) for i, name in enumerate(HOSTILE)]
    run = make_run([*matrices, ("broken", "other", None, np.ones((3, 2)))], statuses={"broken": HOSTILE[0]})
    run.manifest["warnings"] += HOSTILE
    run.manifest["skipped"] += [{"name": n, "shape": [1], "dtype": n, "reason": n} for n in HOSTILE]
    return page_of(run)


def names(page):
    return page.locator("#all tbody th").all_inner_texts()


def state(page):
    words = page.evaluate("location.hash").lstrip("#").split("&")
    return {key: unquote(value.replace("+", " ")) for key, _, value in (word.partition("=") for word in words if word)}


def nodes(page):
    return page.evaluate("document.querySelectorAll('*').length")


def overflow(page):
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("which", ["small", "hostile"])
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_fits_its_window(visit, request, which, width, theme):
    page = visit(request.getfixturevalue(which), "", width, theme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (theme == "dark")
    for view in VIEWS:
        page.evaluate("view => ES.go({view})", view)
        for fold in page.locator("main details > summary").all():
            fold.click()
        assert overflow(page) <= 0, view
        assert nodes(page) <= 3000
        assert page.locator("main").inner_text().strip()
        assert page.locator("nav [aria-current=page]").inner_text().lower() == view
    assert page.title() != "had"
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_heard_and_told_apart(visit, small, theme):
    axe = pytest.importorskip("axe_playwright_python")
    source = Path(axe.__file__).with_name("axe.min.js").read_text("utf-8")
    page = visit(small, "", 1400, theme)
    page.evaluate(f"() => {{ {source} }}")
    for view in VIEWS:
        page.evaluate("view => ES.go({view})", view)
        found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
        assert [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found] == [], view


def test_the_table_sorts_like_the_tables(visit, small, run):
    page = visit(small, "view=table")
    table = run.matrices
    order = names(page)
    assert order[:2] == ["block.0.attention_output.weight", "block.0.key.weight"]
    assert set(order) == set(table["name"])
    for column, first in (("stable_rank", True), ("num_right_outliers", True), ("role", False)):
        for down in (first, not first):
            page.locator(f"#by-{column}").click()
            assert state(page)["sort"] == ("-" if down else "") + column
            shown = table.set_index("name").loc[names(page), column]
            values = list(shown) if column == "role" else [float(x) for x in shown]
            assert values == sorted(values, reverse=down)
            heading = page.locator(f"th:has(#by-{column})")
            assert heading.get_attribute("aria-sort") == ("descending" if down else "ascending")


def test_names_are_in_their_natural_order(visit, make_run, make_spiked, page_of):
    rng = np.random.default_rng(0)
    w = make_spiked(rng, 10, 8, 0)
    run = make_run([(f"layer.{i}.w", "query", i, w) for i in (10, 2, 1, 0, 11)], control="none")
    page = visit(page_of(run), "view=table")
    assert names(page) == [f"layer.{i}.w" for i in (0, 1, 2, 10, 11)]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("", lambda t: t["name"] == t["name"]),
        ("role:mlp_up right>0 block>=1", lambda t: (t.role == "mlp_up") & (t.num_right_outliers > 0) & (t.block >= 1)),
        ("role:mlp", lambda t: t.role.str.contains("mlp")),
        ("role=query|key -block=1", lambda t: t.role.isin(["query", "key"]) & (t.block != 1)),
        ("role!=query", lambda t: t.role != "query"),
        ("m:96", lambda t: t.m == 96),
        ("stable_rank<=10 alpha>1e0", lambda t: (t.stable_rank <= 10) & (t.alpha > 1)),
        ("block.2", lambda t: t.name.str.contains("block.2", regex=False)),
        ('"block.2.mlp"', lambda t: t.name.str.contains("block.2.mlp", regex=False)),
        ("nothing_like_it", lambda t: t.name == ""),
    ],
)
def test_expressions_choose_what_they_say(visit, small, run, expression, chosen):
    page = visit(small, f"view=table&q={quote(expression)}")
    table = run.matrices
    wanted = set(table["name"][chosen(table).fillna(False).astype(bool)])
    assert set(names(page)) == wanted
    assert page.locator("#matches").inner_text() == f"{len(wanted)} of {len(table)} matrices"


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("stable_rnk>3", "no column stable_rnk; did you mean stable_rank?"),
        ("role>3", "role is text"),
        ("alpha>three", "expected a number"),
    ],
)
def test_what_cannot_be_read_is_said(visit, small, run, expression, says):
    page = visit(small, "view=table")
    page.locator("#q").fill(expression)
    page.wait_for_selector("#matches.bad")
    assert says in page.locator("#matches").inner_text()
    assert len(names(page)) == len(run.matrices)
    assert page.evaluate("document.activeElement.id") == "q"


def test_columns_are_chosen_with_their_meaning_and_leave_as_csv(visit, small, run):
    page = visit(small, "view=table&q=role:query&sort=-alpha")
    page.locator("#choose").click()
    page.locator("#find-column").fill("tracy")
    assert page.locator(".chooser .list label").count() == page.evaluate(
        "Object.values(ES.data.columns).filter(c => /tracy/i.test(c.doc)).length"
    )
    page.locator("#find-column").fill("spectral_norm")
    assert "lambda_1 = s_1^2" in page.locator(".chooser .list").inner_text()
    page.locator("#show-spectral_norm").check()
    assert state(page)["columns"].endswith(",spectral_norm")
    with page.expect_download() as saved:
        page.locator("#csv").click()
    rows = [*csv.DictReader(io.StringIO(Path(saved.value.path()).read_text("utf-8")))]
    query = run.matrices[run.matrices["role"] == "query"].sort_values("alpha", ascending=False)
    assert [row["name"] for row in rows] == list(query["name"])
    for column in ("spectral_norm", "stable_rank", "alpha"):
        np.testing.assert_allclose([float(row[column]) for row in rows], query[column].astype(float), rtol=1e-6)


def test_numbers_of_a_cell_are_the_tables(visit, small, run):
    page = visit(small, "view=map&measure=stable_rank")
    row = run.matrices.set_index("name").loc["block.1.key.weight"]
    stage = page.locator("#map")
    stage.focus()
    for _ in range(60):
        page.keyboard.press("ArrowRight")
        said = page.locator("#cell").inner_text()
        if "block 1" in said:
            break
    while "key" not in said:
        page.keyboard.press("ArrowDown")
        said = page.locator("#cell").inner_text()
    shown = float(re.search(r"stable_rank: ([\d.]+)", said)[1])
    assert shown == pytest.approx(row["stable_rank"], rel=1e-3)
    control = float(re.search(r"control: ([\d.]+)", said)[1])
    assert control == pytest.approx(row["control_gaussian_stable_rank"], rel=1e-3)
    page.keyboard.press("Enter")
    assert state(page) == {"view": "matrix", "measure": "stable_rank", "matrix": "block.1.key.weight"}
    page.go_back()
    page.wait_for_selector("#map")
    assert state(page)["view"] == "map"


def test_a_brush_over_the_map_chooses_its_matrices(visit, small, run):
    page = visit(small, "view=map")
    box = page.locator("#map svg").bounding_box()
    texts = {text.text_content(): text.bounding_box() for text in page.locator("#map text.tick").all()}
    down = [texts[role]["y"] + texts[role]["height"] / 2 for role in ("query", "value")]
    across = [texts[str(block)]["x"] + 3 for block in (1, 2)]
    page.mouse.move(across[0], down[0])
    page.mouse.down()
    page.mouse.move(across[1], down[1], steps=4)
    page.mouse.up()
    assert box["width"] > 200
    table = run.matrices
    wanted = table[table["role"].isin(["query", "key", "value"]) & (table["block"] >= 1)]
    page.locator("main a", has_text="In the table").click()
    assert set(names(page)) == set(wanted["name"])


def test_excess_is_the_value_less_the_controls(visit, small, run):
    page = visit(small, "view=map&measure=stable_rank&over=control&q=role:embedding")
    said = page.locator("#map svg text").all_text_contents()
    row = run.matrices.set_index("name").loc["embedding.weight"]
    excess = row["stable_rank"] - row["control_gaussian_stable_rank"]
    numbers = [float(x.replace("−", "-")) for x in said if re.fullmatch(r"−?\d+(\.\d+)?", x)]
    assert min(abs(x - excess) for x in numbers) <= 0.006 * abs(excess)


def test_a_mark_of_the_scatter_plot_is_a_matrix(visit, small, run):
    page = visit(small, "view=scatter&x=m&y=stable_rank&ylog=1")
    page.locator("#scatter").focus()
    page.keyboard.press("ArrowRight")
    said = page.locator("#mark").inner_text()
    first = run.matrices.sort_values(["m", "stable_rank"], ascending=[True, False]).iloc[0]
    assert first["name"] in said
    assert f"m: {first['m']}" in said
    page.keyboard.press("Enter")
    assert state(page)["matrix"] == first["name"]
    page.go_back()
    page.wait_for_selector("#scatter")
    marks = page.locator("#scatter .mark").evaluate_all("all => all.map(e => (e.getAttribute('d').match(/M/g)).length)")
    hues = page.locator("#scatter .mark").evaluate_all("all => all.map(e => getComputedStyle(e).stroke)")
    assert len(set(hues)) == min(7, len(hues))  # seven colours, told apart by shape beyond
    assert sum(marks) == len(run.matrices)


def test_the_theme_is_a_state_too(visit, small):
    page = visit(small, "view=map")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert state(page)["theme"] == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert page.evaluate("getComputedStyle(document.querySelector('#map svg text')).fill") == "rgb(162, 168, 174)"


def test_hostile_names_are_shown_and_found(visit, hostile):
    page = visit(hostile, "view=table")
    assert page.title() != "had"
    shown = names(page)
    assert HOSTILE[0] in shown
    for name in HOSTILE:
        page.evaluate("name => ES.go({view: 'matrix', matrix: name})", name)
        assert state(page)["matrix"] == name
        assert overflow(page) <= 0
    page.evaluate("() => ES.go({view: 'scatter', matrix: null})")
    links = page.locator(".legend a")
    for i in range(len(HOSTILE)):
        links.nth(i).click()
        assert page.evaluate("ES.filtered(ES.state.q).rows.length") == 1
        page.evaluate("() => ES.go({q: null})")


def test_spectra_are_the_tables(visit, small, run):
    page = visit(small)
    for i in (0, 5):
        for prefix in ("", "control_gaussian_"):
            read = page.evaluate(
                "([i, prefix]) => { const s = ES.spectrum(i, prefix), {index, p, avg} = s.left;"
                "return {values: [...s.values], index: [...index], p: [...p], avg: [...avg]} }",
                [i, prefix],
            )
            row = run.spectra.iloc[i]
            np.testing.assert_allclose(read["values"], row[f"{prefix}singular_values"], rtol=3e-4)
            np.testing.assert_allclose(read["p"], row[f"{prefix}p_left"][read["index"]], rtol=3e-4)
            np.testing.assert_allclose(read["avg"], row[f"{prefix}p_left_avg"][read["index"]], atol=1e-3)
            assert len(read["index"]) == len(row[f"{prefix}p_left"])
