"""report.html: one self-contained page; every text from a checkpoint goes through `esc`."""

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eigensweep.engine.report.assets import CSS, SCRIPT
from eigensweep.engine.report.registry import Panels, Section
from eigensweep.engine.report.style import shorten, slugs
from eigensweep.engine.tables.columns import Columns
from eigensweep.engine.tables.result import Result

MOST_WARNINGS = 20
_SHOWN_ELSEWHERE = ("study", "skipped", "warnings", "without_activations")


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: its PNG, what is seen, what the numbers are, how to read it."""

    png: bytes
    seen: str
    note: str
    reading: str


def esc(value: object) -> str:
    """`value` as HTML text or attribute."""
    return html.escape(str(value), quote=True)


def document(title: str, body: str) -> str:
    """A whole page that asks for nothing outside itself."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{esc(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def page(shown: Sequence[tuple[Result, Panels]], tables: Mapping[str, Columns]) -> str:
    """The report.

    Args:
      shown: results with their panels, the main one first; their sections follow one another.
      tables: the columns to explain, by table.
    """
    sections = [section for _, panels in shown for section in panels.sections]
    anchors = slugs(section.heading for section in sections)
    links = [(anchors[s.heading], s.heading) for s in sections]
    links += [("settings", "Settings"), ("columns", "Columns")]
    parts = [
        _header(shown),
        "<nav>" + " ".join(f'<a href="#{a}">{esc(shorten(t, 40))}</a>' for a, t in links) + "</nav>\n<main>",
        *(_section(anchors[section.heading], section) for section in sections),
        _settings([result for result, _ in shown]),
        _columns(tables),
        "</main>",
    ]
    return document(shown[0][1].title, "\n".join(parts))


def _section(anchor: str, section: Section) -> str:
    return f'<section id="{anchor}"><h2>{esc(shorten(section.heading, 80))}</h2>\n{section.html}</section>'


def gallery(shown: Sequence[Picture]) -> str:
    """Pictures as a section's HTML."""
    return "\n".join(picture(p) for p in shown)


def matters(text: str) -> str:
    """A paragraph of small print."""
    return f'<p class="note">{esc(text)}</p>'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "", identity: str = "") -> str:
    """A table of cells that are HTML already; the first cell of a row is its header."""
    head = "".join(f'<th scope="col">{h}</th>' for h in headings)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>\n" for row in rows
    )
    mark = f' id="{identity}"' if identity else ""
    return (
        f'<div class="scroll {kind}" tabindex="0"><table{mark}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """A table of plain text."""
    return table([*map(esc, headings)], ([*map(esc, row)] for row in rows), kind=kind)


def checkpoint_name(result: Result) -> str:
    """What a title calls a result's checkpoint: the last two parts of where it came from."""
    source = str(result.manifest.get("checkpoint", {}).get("source", "")).rstrip("/")
    return shorten("/".join(source.split("/")[-2:]) or "a checkpoint", 120)


def definitions(entries: Mapping[str, Any]) -> str:
    """A mapping as a definition list, nested values as `a: b, ...`."""
    return "<dl>" + "".join(f"<dt>{esc(k)}</dt><dd>{esc(_flat(v))}</dd>" for k, v in entries.items()) + "</dl>"


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_flat(v)}" for k, v in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(_flat(v) for v in value) or "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _header(shown: Sequence[tuple[Result, Panels]]) -> str:
    manifest = shown[0][0].manifest
    identity = manifest.get("checkpoint", {})
    facts: dict[str, Any] = {"checkpoint": identity.get("source"), "kind": None, "sha256": identity.get("sha256")}
    if "kind" in identity:
        facts["kind"] = f"{identity['kind']}, architecture {identity.get('architecture', 'unknown')}"
    for _, panels in shown:
        facts |= panels.facts
    facts["options"] = manifest.get("options")
    if "eigensweep" in manifest:
        facts["made with"] = f"eigensweep {manifest['eigensweep']}"
    known = {name: fact for name, fact in facts.items() if fact is not None}
    warnings = [w for result, panels in shown for w in (*result.manifest.get("warnings", ()), *panels.warnings)]
    items = [f"<li>{esc(w)}</li>" for w in dict.fromkeys(warnings)]
    if len(items) > MOST_WARNINGS:
        items = [*items[:MOST_WARNINGS], f"<li>and {len(items) - MOST_WARNINGS} more, see the tables</li>"]
    box = f'<div class="warnings" role="note"><ul>{"".join(items)}</ul></div>' if items else ""
    return f"<header><h1>{esc(shown[0][1].title)}</h1>{definitions(known)}{box}</header>"


def picture(shown: Picture) -> str:
    """A figure with its PNG inside the page; what is seen stands in the picture, and in words for who cannot see it."""
    data = base64.b64encode(shown.png).decode()
    width, height = (int.from_bytes(shown.png[i : i + 4], "big") for i in (16, 20))  # of the PNG's header
    words = esc(f"{shown.seen} ({shown.note}). {shown.reading}")
    image = f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" loading="lazy" alt="{words}">'
    caption = f"<figcaption>{esc(shown.reading)}</figcaption>"
    return f'<figure><div class="scroll" tabindex="0">{image}</div>{caption}</figure>'


def _settings(results: Sequence[Result]) -> str:
    parts = []
    for result in results:
        manifest = result.manifest
        entries = {k: v for k, v in manifest.items() if k not in _SHOWN_ELSEWHERE}
        parts.append(f"<h3>{esc(result.study)}</h3>{definitions(entries)}")
        if skipped := manifest.get("skipped"):
            rows = ([s["name"], " × ".join(map(str, s["shape"])), s["dtype"], s["reason"]] for s in skipped)
            left_out = text_table(["tensor", "shape", "dtype", "why"], rows)
            parts.append(f"<details><summary>Left out: {len(skipped)} tensors</summary>{left_out}</details>")
    return f'<section id="settings"><h2>Settings</h2>{"".join(parts)}</section>'


def _with_code(text: str) -> str:
    """Text in which `this` is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", esc(text))


def _columns(tables: Mapping[str, Columns]) -> str:
    explained = [
        f"<details><summary>What the columns of {esc(name)}.parquet mean</summary>"
        + table(
            ["column", "unit", "formula", "source"],
            [[f"<code>{esc(k)}</code>", esc(c.unit), _with_code(c.formula), esc(c.source)] for k, c in columns.items()],
            kind="wide",
        )
        + "</details>"
        for name, columns in tables.items()
    ]
    return (
        '<section id="columns"><h2>Columns</h2><p class="note">W is (m, n), y = W x; a = max(m, n), b = min(m, n); s '
        "are its singular values in descending order, λ = s²; [w] is the unit of the weights, [x] that of activations. "
        "Columns of a random control, which goes down the same path, carry the prefix <code>control_</code> and its "
        f"kind.</p>{''.join(explained)}</section>"
    )
