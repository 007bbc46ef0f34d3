"""Heat maps of charts in a browser: every cell has its value's colour, and says its value."""

import json
import re

import numpy as np
import pytest

from eigensweep.engine import write_report
from eigensweep.engine.report.charts import Amount, Axis, Chart, Grid, as_data

HOSTILE = "</script><b>מודל" + "long" * 200


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    return write_report(run, tmp_path_factory.mktemp("page"))


def a_chart():
    """Two grids of 6 tokens and 40 dimensions; one value is missing, one lies far beyond the colours."""
    values = np.random.default_rng(0).standard_normal((6, 40))
    values[0, 0], values[2, 3] = np.nan, 900.0
    columns = [str(10 * c) for c in range(40)]
    grids = [Grid(f"block {i}", [HOSTILE, *"bcdef"], columns, values.ravel()) for i in range(2)]
    amount = Amount("entry of the stream", (-50.0, 50.0), signed=True, threshold=0.5)
    return Chart("Tokens", "seen", "note", "reading", Axis("dimension"), Axis("token"), grids, amount), values


def drawn(page, chart):
    """The chart, put at the end of the page."""
    plain = json.loads(json.dumps(as_data(chart), default=np.ndarray.tolist).replace("NaN", "null"))
    script = "chart => { const m = document.querySelector('main'); m.append(ES.chart(chart, m.clientWidth)); }"
    page.evaluate(script, plain)
    return page.locator("section.plot").last


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])
def test_cells_have_the_colours_of_their_values(visit, report, width, theme):
    page = visit(report, "", width, theme)
    chart, values = a_chart()
    section = drawn(page, chart)
    svg = section.locator("figure svg.chart").first
    assert section.locator("figure svg.chart").count() == 2
    area = 0.0
    for box in svg.locator("g[clip-path] path").all():
        for wide, tall in re.findall(r"h([\d.]+)v([\d.]+)", box.get_attribute("d")):
            area += float(wide) * float(tall)
    axis = svg.locator("path.axis").get_attribute("d")
    left, top, bottom, right = (float(x) for x in re.fullmatch(r"M(\S+) (\S+)V(\S+)H(\S+)", axis).groups())
    assert area == pytest.approx((right - left) * (bottom - top) * 239 / 240, rel=1e-3)  # one value is missing
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    at = lambda r, c: (  # noqa: E731
        box["x"] + left + (c + 0.5) * (right - left) / 40, box["y"] + top + (r + 0.5) * (bottom - top) / 6
    )  # fmt: skip
    for r, c in ((1, 5), (5, 39)):
        page.mouse.move(*at(r, c))
        said = page.locator("#tip").inner_text().replace("−", "-").split("\n")
        assert float(said[0]) == pytest.approx(values[r, c], rel=1e-3)
        assert said[1:] == [f"token: {'abcdef'[r]}", f"dimension: {10 * c}"]
    assert "dimension (40 columns)" in svg.get_attribute("aria-label")
    assert section.locator("svg[aria-label^=Colours]").count() == 1


def test_values_beyond_the_limits_have_the_last_colour_and_zero_the_middle(visit, report):
    page = visit(report)
    chart, _ = a_chart()
    grid = Grid("", ["a"], ["1", "2", "3"], [-900.0, 0.0, 900.0])
    section = drawn(page, Chart("T", "", "", "", chart.x, chart.y, [grid], chart.amount))
    fills = [path.evaluate("p => getComputedStyle(p).fill") for path in section.locator("g[clip-path] path").all()]
    ramp = page.evaluate("[0.5, 24.5, 47.5].map(k => ES.signedColor(k / 48))")
    expected = [f"rgb({int(c[1:3], 16)}, {int(c[3:5], 16)}, {int(c[5:7], 16)})" for c in ramp]
    assert fills == expected
