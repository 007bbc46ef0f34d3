"""Pages without a script: one self-contained document; every text from a checkpoint goes through `esc`."""

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eigensweep.engine.report.page import style
from eigensweep.engine.report.page.data import flat


@dataclass(frozen=True)
class Picture:
    """A figure as a page shows it: its PNG, what is seen, what the numbers are, how to read it."""

    png: bytes
    seen: str
    note: str
    reading: str


def esc(value: object) -> str:
    """`value` as HTML text or attribute."""
    return html.escape(str(value), quote=True)


def document(title: str, body: str) -> str:
    """A whole page that asks for nothing outside itself."""
    looks = style()
    allowed = base64.b64encode(hashlib.sha256(looks.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{allowed}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{esc(title)}</title>\n<style>{looks}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the first cell of a row is its header."""
    head = "".join(f'<th scope="col">{h}</th>' for h in headings)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>\n" for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>'
    )


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text."""
    return table([*map(esc, headings)], ([*map(esc, row)] for row in rows))


def definitions(entries: Mapping[str, Any]) -> str:
    """A mapping as a definition list, nested values as `a: b, ...`."""
    return "<dl>" + "".join(f"<dt>{esc(k)}</dt><dd>{esc(flat(v))}</dd>" for k, v in entries.items()) + "</dl>"


def picture(shown: Picture) -> str:
    """A figure with its PNG inside the page; what is seen stands in the picture, and in words for who cannot see it."""
    data = base64.b64encode(shown.png).decode()
    width, height = (int.from_bytes(shown.png[i : i + 4], "big") for i in (16, 20))  # of the PNG's header
    words = esc(f"{shown.seen} ({shown.note}). {shown.reading}")
    image = f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" loading="lazy" alt="{words}">'
    return (
        f'<figure><div class="scroll" tabindex="0">{image}</div><figcaption>{esc(shown.reading)}</figcaption></figure>'
    )
