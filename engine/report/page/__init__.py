"""report.html: one self-contained page, drawn in the browser from data that lie packed inside it.

`shell.html` is the document, `style.css` and `figures.css` its looks, `js/` its script, in one piece: the page asks
for nothing outside itself, evaluates nothing, and its policy names script and style by their hashes. Texts of a
checkpoint reach the document through Jinja's escaping (the title) or through `textContent`. No library draws it: the
smallest that could (Plotly, Bokeh) are larger than the page may be.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from eigensweep.engine.report.page.data import content
from eigensweep.engine.report.page.packing import packed
from eigensweep.engine.report.registry import View
from eigensweep.engine.tables.columns import Columns
from eigensweep.engine.tables.result import Result

HERE = Path(__file__).parent
SCRIPTS = (
    "util", "data", "state", "filter", "columns", "charts", "colors", "export",
    "law", "matrix_figures", "vector_figures", "pair_figures", "plots", "grids", "tokens", "circuit",
    "views/compare", "views/findings", "views/tokens", "views/map", "views/table", "views/matrix", "views/scatter",
    "views/studies", "main",
)  # fmt: skip


@cache
def style() -> str:
    """The style sheet."""
    return "".join((HERE / f"{name}.css").read_text("utf-8") for name in ("style", "figures"))


@cache
def script() -> str:
    """The whole script: every file in its order."""
    return "\n".join((HERE / "js" / f"{name}.js").read_text("utf-8") for name in SCRIPTS)


def policy(script: str, style: str) -> str:
    """A content policy that allows this script and this style, pictures made in the page, and nothing else."""
    allowed = (f"'sha256-{base64.b64encode(hashlib.sha256(x.encode()).digest()).decode()}'" for x in (script, style))
    return "default-src 'none'; img-src data: blob:; script-src {}; style-src {}".format(*allowed)


def page(shown: Sequence[tuple[Result, View]], tables: Mapping[str, Columns]) -> str:
    """The report.

    Args:
      shown: results with what the page shows of them, the main one first.
      tables: the columns to explain, by table.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    shell = environment.from_string((HERE / "shell.html").read_text("utf-8"))
    code, looks = script(), style()
    return shell.render(
        title=shown[0][1].title,
        policy=policy(code, looks),
        style=jinja2.utils.markupsafe.Markup(looks),
        script=jinja2.utils.markupsafe.Markup(code),
        data=packed(content(shown, tables)),
    )
