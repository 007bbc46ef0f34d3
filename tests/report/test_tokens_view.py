"""The page's view of a tokens run: grid, circuit, search and labels by hand equal the tables."""

import csv
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest

from eigensweep.engine import import_marks, open_labels, open_tokens, write_report
from eigensweep.engine.studies.tokens import page as page_of_tokens
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.files import write_json, write_table

spec = importlib.util.spec_from_file_location("tokens_run", Path(__file__).parents[1] / "studies" / "tokens_run.py")
runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runs)
FIRST = {"circuit": "block.0.head.0.ov", "index": 1, "side": "written", "sign": 1}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A run with labels by a model, and its page."""
    from eigensweep.engine.studies.labels.tables import LABELS

    folder = runs.make_tokens(tmp_path_factory.mktemp("tokens") / "run")
    about = {"judge": "m <b>", "block": 0, "head": 0, "kind": "ov", "end": "first"}
    rows = [
        about | FIRST | {"status": "interpretable", "label": "<i>fruit</i>"},
        about | FIRST | {"sign": -1, "status": "nothing"},
    ]
    write_table(folder / "labels.parquet", to_table(LABELS, rows))
    of = json.loads((folder / "tokens.json").read_text())["tables"]["directions.parquet"]
    write_json(folder / "tokens_labels.json", {
        "eigensweep": "0.4.0", "study": "labels", "status": "done", "joins": ["tokens"], "of": of,
        "judges": {"m <b>": {"kind": "model"}},
    })  # fmt: skip
    return write_report(folder)


@pytest.fixture(scope="module")
def directions(report):
    return open_tokens(report.parent).directions.set_index(["circuit", "index", "side", "sign"])


def columns(page):
    """The tokens of the circuit that is shown, a list a column, as they are seen."""
    rows = page.locator("table.directions tbody tr")
    cells = [rows.nth(i).locator("td").all_inner_texts() for i in range(rows.count())]
    return [list(column) for column in zip(*cells, strict=True)]


def test_a_circuit_shows_its_tables(visit, report, directions):
    page = visit(report, "view=tokens&circuit=block.1.head.1.qk&side=key")
    shown = columns(page)
    expected = [
        list(directions.loc[("block.1.head.1.qk", index, "key", sign), "tokens"])
        for index in range(1, 5)
        for sign in (1, -1)
    ]
    visible = lambda words: page.evaluate("words => words.map(w => ES.shorten(ES.visible(w), 40))", words)  # noqa: E731
    assert shown == [visible(words) for words in expected[: len(shown)]]
    assert len(shown) == 8
    assert page.locator("th.sign").first.inner_text().split("\n") == ["+", "p = 0.5"]
    heads = page.locator("table.directions thead tr").first.inner_text()
    assert heads.count("of span 1 to 2") == 2
    shade = page.locator("td.token").nth(0).evaluate("e => e.style.getPropertyValue('--shade')")
    assert shade == "36%"
    scores = directions.loc[("block.1.head.1.qk", 1, "key", 1), "scores"]
    title = page.locator("td.token").nth(8).get_attribute("title")
    assert float(title.split()[1]) == pytest.approx(scores[1], abs=scores[0] / 255)


def test_the_grid_opens_circuits_by_pointer_and_keys(visit, report):
    page = visit(report, "view=tokens&colour=signs")
    circuits = open_tokens(report.parent).circuits.set_index("circuit")
    page.locator("#circuits").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    name = "block.1.head.1.ov"
    share = circuits.loc[name, "num_right_beyond_signs"] / circuits.loc[name, "rank"]
    said = page.locator("#cell").inner_text()
    assert said.startswith(name)
    assert float(said.rsplit(" ", 1)[1]) == pytest.approx(share, rel=1e-2)
    page.keyboard.press("Enter")
    assert page.locator("#circuit h2").inner_text() == name
    page.locator("select").nth(1).select_option("coherent")  # one list of 16 of the first circuit's
    assert "Colour: lists of tokens that hang together" in page.locator("main").inner_text()
    shares = page.evaluate("Array.from(ES.tokens().data.measures[0].values)")
    assert shares[0] == pytest.approx(1 / 16)
    assert sum(share > 0 for share in shares) == 3
    box = page.locator("#circuits svg").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 12, box["y"] + 26)
    assert page.locator("#circuit h2").inner_text() == "block.0.mlp_out"
    page.locator("select").first.select_option("qk")
    assert "head of qk" in page.locator("#circuits svg").text_content()


def test_search_finds_every_direction_that_has_the_token(visit, report, directions):
    page = visit(report, "view=tokens")
    page.locator("#find-token").fill("Word7")
    page.wait_for_selector("#hits th[scope=row]")
    holding = directions[[("word7" in words) for words in directions["tokens"]]]
    assert page.locator("#hits tbody tr").count() == len(holding) > 3
    found = {
        (row.locator("th").inner_text(), *row.locator("td").all_inner_texts()[:2])
        for row in page.locator("#hits tbody tr").all()
    }
    assert found == {(f"{c}:{i}", side, "+" if sign > 0 else "−") for c, i, side, sign in holding.index}
    ranks = [int(x) for x in page.locator("#hits tbody td:nth-child(4)").all_inner_texts()]
    assert ranks == sorted(ranks)
    page.locator("#hits a").first.click()
    assert page.locator("th.asked").count() == 1
    (asked,) = [i for i, head in enumerate(page.locator("th.sign").all()) if "asked" in head.get_attribute("class")]
    assert columns(page)[asked].index("word7") == ranks[0] - 1
    page.locator("#find-token").fill("ord7")
    page.wait_for_selector("#hits p:has-text('occurs')")
    page.locator("#find-token").fill("no such token")
    page.wait_for_selector("#hits p:has-text('no list')")


def test_labels_stand_beside_their_lists_and_hide_while_marking(visit, report):
    page = visit(report, "view=tokens")
    judged = page.locator(".judged").all_inner_texts()
    assert [text.split() for text in judged] == [["<i>fruit</i>", "verified"], ["shares", "nothing"]]
    assert page.title() == "Directions as tokens of made"
    page.locator("#mark").check()
    assert page.locator(".judged").count() == 0
    page.evaluate("ES.go({view: 'studies', study: 'labels'})")
    assert "Lists of tokens that are interpretable" in page.locator("main").inner_text()


def test_labels_by_hand_go_out_and_come_in(visit, report, tmp_path):
    page = visit(report, "view=tokens&mark=1")
    assert page.locator("#marks-json").is_disabled()
    choices, texts = page.locator(".marking select"), page.locator(".marking input")
    choices.nth(0).select_option("yes")
    texts.nth(0).fill('=fruit, "ripe" <b>')
    choices.nth(3).select_option("no")
    choices.nth(4).select_option("no")
    choices.nth(4).select_option("")
    page.locator("#person").fill("Ann")
    assert page.locator("#marked").inner_text() == "2 marked, kept in this browser"
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#person").input_value() == "Ann"
    assert page.locator(".marking input").first.input_value() == '=fruit, "ripe" <b>'
    for ending in ("json", "csv"):
        with page.expect_download() as download:
            page.locator(f"#marks-{ending}").click()
        download.value.save_as(tmp_path / f"labels.{ending}")
        found = import_marks(report.parent, [tmp_path / f"labels.{ending}"])
        rows = found.labels[found.labels["judge"] == "by hand: Ann"].set_index(["circuit", "index", "side", "sign"])
        assert rows["status"].to_dict() == {
            ("block.0.head.0.ov", 1, "written", 1): "interpretable", ("block.0.head.0.ov", 2, "written", -1): "nothing",
        }  # fmt: skip
        assert rows["label"].iloc[0] == '=fruit, "ripe" <b>'
        assert len(open_labels(report.parent).labels) == 4
    assert len(list(csv.reader(io.StringIO((tmp_path / "labels.csv").read_text())))) == 3
    page.locator("#at-random").click()
    assert page.locator("th.asked").count() == 1


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])
def test_it_fits_and_can_be_heard(visit, report, width, theme):
    axe = pytest.importorskip("axe_playwright_python")
    source = Path(axe.__file__).with_name("axe.min.js").read_text("utf-8")
    page = visit(report, "view=tokens", width, theme)
    page.evaluate(f"() => {{ {source} }}")
    for state in ("{circuit: 'block.1.head.2.qk', first: '3'}", "{mark: '1', token: 'word7'}"):
        page.evaluate(f"ES.go({state})")
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert page.evaluate("document.querySelectorAll('*').length") < 3000
        found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
        assert [(v["id"], [n["html"][:160] for n in v["nodes"]][:3]) for v in found] == []
    assert page.title() != "had"
    assert page.locator("img").count() == 0


def test_hostile_tokens_are_seen_not_obeyed(visit, report):
    page = visit(report, "view=tokens&circuit=block.1.head.2.qk&first=3")
    shown = columns(page)[4]
    assert shown[0].startswith("</script>")
    assert shown[1] == "\\u{1b}[31mred\\u{7}"
    assert shown[2:4] == ["·fire", "∅"]
    assert shown[4] == "\\u{a}\\u{2028}"
    assert "\u202e" not in shown[6]


@pytest.mark.parametrize(
    ("circuits", "directions", "length", "tokens", "most"),
    [(10, 100, 20, 20, 100), (300, 20, 20, 20, 20), (2000, 100, 20, 6, 10), (300, 100, 20, 20, 20)],
)
def test_what_is_kept_fits_its_room(circuits, directions, length, tokens, most):
    counts = np.full(circuits, directions)
    found = page_of_tokens._room(counts, length)
    assert 2 * found[0] * np.minimum(counts, found[1]).sum() <= page_of_tokens.ROOM
    assert found == (tokens, most)


def test_a_large_run_keeps_both_ends_and_says_so(visit, monkeypatch, tmp_path):
    monkeypatch.setattr(page_of_tokens, "ROOM", 2 * 8 * 26 * 6)
    monkeypatch.setattr(page_of_tokens, "_ENOUGH", 6)
    report = write_report(runs.make_tokens(tmp_path / "run", directions=12))
    page = visit(report, "view=tokens")
    text = page.locator("main").inner_text()
    assert "156 of 312 directions" in text
    assert page.evaluate("Array.from(ES.tokens().data.directions.index.slice(0, 6))") == [1, 2, 3, 4, 11, 12]
