"""report.html: one self-contained page; every text from a checkpoint goes through `esc`."""

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eigensweep.engine.report import summary
from eigensweep.engine.report.assets import CSS, SCRIPT
from eigensweep.engine.report.columns import COLUMNS
from eigensweep.engine.report.matrix import pictures
from eigensweep.engine.report.roles import Run, Spectrum, block_of, scalar
from eigensweep.engine.report.style import number, shorten, slug, slugs

MAX_PICTURED = 500  # matrices with small pictures; about 6 kB each
IDENTITY = ("name", "role", "block", "expert", "m", "n", "dtype", "status", "strategy")
TABLE = (
    ("num_right_outliers", "right"),
    ("num_left_outliers", "left"),
    ("stable_rank", "stable rank"),
    ("alpha", "alpha"),
    ("mp_ks", "MP distance"),
    ("mean_p_right", "mean p right"),
    ("mean_p_left", "mean p left"),
)


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


def page(run: Run, groups: Mapping[str, Sequence[Spectrum]], figures: Mapping[str, Sequence[Picture]]) -> str:
    """The report.

    Args:
      run: a sweep's run.
      groups: its spectra by role.
      figures: pictures by heading; the headings become sections in this order.
    """
    source = run.manifest.get("checkpoint", {}).get("source", "a checkpoint")
    rows = run.matrices.to_dict("records")
    anchors = _anchors([str(row["name"]) for row in rows])
    names = slugs(figures)
    links = [("summary", "Summary"), *((f"role-{names[h]}", h) for h in figures)]
    links += [("matrices", "Matrices"), ("settings", "Settings"), ("columns", "Columns")]
    parts = [
        _header(run, rows),
        "<nav>" + " ".join(f'<a href="#{a}">{esc(shorten(t, 40))}</a>' for a, t in links) + "</nav>\n<main>",
        _summary(run),
        *(_figures(f"role-{names[heading]}", heading, shown) for heading, shown in figures.items()),
        _matrices(rows, groups, anchors),
        _settings(run.manifest),
        _columns(),
        "</main>",
    ]
    return document(f"Spectra of {shorten(str(source), 80)}", "\n".join(parts))


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "", identity: str = ""
) -> str:
    """A table of cells that are HTML already; the first cell of a row is its header."""
    head = "".join(f'<th scope="col">{h}</th>' for h in headings)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>\n"
        for row in rows
    )
    mark = f' id="{identity}"' if identity else ""
    return (
        f'<div class="scroll {kind}" tabindex="0"><table{mark}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def definitions(entries: Mapping[str, Any]) -> str:
    """A mapping as a definition list, nested values as `a: b, ...`."""
    return (
        "<dl>" + "".join(f"<dt>{esc(k)}</dt><dd>{esc(_flat(v))}</dd>" for k, v in entries.items()) + "</dl>"
    )


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_flat(v)}" for k, v in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(_flat(v) for v in value) or "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _header(run: Run, rows: list[dict[str, Any]]) -> str:
    manifest, identity = run.manifest, run.manifest.get("checkpoint", {})
    failed = [row for row in rows if row["status"] != "ok"]
    facts = {
        "checkpoint": identity.get("source", "–"),
        "kind": f"{identity.get('kind', '–')}, architecture {identity.get('architecture', '–')}",
        "sha256": identity.get("sha256", "–"),
        "matrices": f"{len(rows)} swept, {len(manifest.get('skipped', []))} tensors left out",
        "options": manifest.get("options", {}),
        "made with": f"eigensweep {manifest.get('eigensweep', '–')}",
    }
    warnings = [f"<li>{esc(w)}</li>" for w in manifest.get("warnings", [])]
    warnings += [
        f"<li><code>{esc(shorten(row['name'], 200))}</code>: {esc(row['status'])}</li>" for row in failed[:20]
    ]
    if len(failed) > 20:
        warnings.append(
            f"<li>{len(failed) - 20} more matrices have no statistics, see the table of matrices</li>"
        )
    box = f'<div class="warnings" role="note"><ul>{"".join(warnings)}</ul></div>' if warnings else ""
    name = shorten(
        "/".join(str(identity.get("source", "")).rstrip("/").split("/")[-2:]) or "a checkpoint", 120
    )
    return f"<header><h1>Weight spectra of {esc(name)}</h1>{definitions(facts)}{box}</header>"


def _summary(run: Run) -> str:
    frame = summary.summary_table(run)
    headings = [f'<abbr title="{esc(what)}">{esc(name)}</abbr>' for name, what in summary.HEADINGS.values()]
    rows = [[esc(c) for c in summary.cells(row)] for row in frame.to_dict("records")]
    return (
        '<section id="summary"><h2>Summary</h2><p class="note">Medians over the matrices of a role; '
        "the random control's value in brackets. Right and left: singular values beyond the edges of the "
        f"Marchenko–Pastur bulk. Rejected: singular vectors that are not random directions.</p>"
        f"{table(headings, rows)}</section>"
    )


def picture(shown: Picture) -> str:
    """A figure with its PNG inside the page; what is seen stands in the picture, and in words for who cannot see it."""
    data = base64.b64encode(shown.png).decode()
    width, height = (int.from_bytes(shown.png[i : i + 4], "big") for i in (16, 20))  # of the PNG's header
    words = esc(f"{shown.seen} ({shown.note}). {shown.reading}")
    image = f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" loading="lazy" alt="{words}">'
    caption = f"<figcaption>{esc(shown.reading)}</figcaption>"
    return f'<figure><div class="scroll" tabindex="0">{image}</div>{caption}</figure>'


def _figures(anchor: str, heading: str, shown: Sequence[Picture]) -> str:
    figures = "\n".join(picture(p) for p in shown)
    return f'<section id="{anchor}"><h2>{esc(shorten(heading, 80))}</h2>\n{figures}</section>'


def _anchors(names: list[str]) -> list[str]:
    """A unique anchor a matrix, readable where the name allows."""
    return [f"m{i}-{slug(name)}" for i, name in enumerate(names)]


def _matrices(
    rows: list[dict[str, Any]], groups: Mapping[str, Sequence[Spectrum]], anchors: list[str]
) -> str:
    spectra = {s.name: s for members in groups.values() for s in members}
    chosen = set(spectra)
    note = ""
    if len(spectra) > MAX_PICTURED:
        chosen = set(sorted(spectra, key=lambda k: -(spectra[k].right + spectra[k].left))[:MAX_PICTURED])
        note = f" Of {len(spectra)} matrices, the {MAX_PICTURED} with the most outliers have pictures."
    sections = [
        _section(row, anchor, spectra[row["name"]] if row["name"] in chosen else None)
        for row, anchor in zip(rows, anchors, strict=True)
    ]
    headings = ["name", "role", "block", "shape", *(h for _, h in TABLE), "status"]
    buttons = [f'<button type="button">{esc(h)}</button>' for h in headings]
    overview = table(buttons, [_row(r, a) for r, a in zip(rows, anchors, strict=True)], identity="all")
    return (
        f'<section id="matrices"><h2>Matrices</h2><p class="note">Click a heading to sort.{note}</p>'
        '<label>Show only names, roles or statuses that hold <input id="filter" type="search"></label>'
        f"{overview}\n{''.join(sections)}</section>"
    )


def _row(row: Mapping[str, Any], anchor: str) -> list[str]:
    block = block_of(row)
    return [
        f'<a href="#{anchor}">{esc(shorten(row["name"], 120))}</a>',
        esc(shorten(row["role"], 40)),
        "" if block is None else str(block),
        f"{row['m']} × {row['n']}",
        *(number(scalar(row, column)) for column, _ in TABLE),
        "ok" if row["status"] == "ok" else f'<span class="bad">{esc(row["status"])}</span>',
    ]


def _section(row: Mapping[str, Any], anchor: str, spectrum: Spectrum | None) -> str:
    block = block_of(row)
    place = str(row["role"]) + ("" if block is None else f", block {block}")
    status = "" if row["status"] == "ok" else f' <span class="bad">{esc(row["status"])}</span>'
    drawn = f'<div class="pictures">{pictures(spectrum, row)}</div>' if spectrum else ""
    name = "" if len(str(row["name"])) <= 200 else f"<p><code>{esc(row['name'])}</code></p>"
    shape = f"{row['m']} × {row['n']}, {esc(row['dtype'])}"
    head = f"{esc(shorten(row['name'], 200))}<small>{esc(shorten(place, 60))}, {shape}</small>{status}"
    return f'<details id="{anchor}"><summary>{head}</summary>{name}{drawn}{_numbers(row)}</details>\n'


def _numbers(row: Mapping[str, Any]) -> str:
    """All scalars of a matrix, its controls' beside them."""
    prefixes = [p for p in ("", "control_", "control_permutation_") if f"{p}stable_rank" in row]
    columns = [c for c in COLUMNS["matrices"] if c not in IDENTITY]
    known = [c for c in columns if any(math.isfinite(scalar(row, p + c)) for p in prefixes)]
    if not known:
        return ""
    names = {"": "matrix", "control_": "control", "control_permutation_": "permutation"}
    cells = [[c, *(_exact(scalar(row, p + c)) for p in prefixes)] for c in known]
    return table(["", *(names[p] for p in prefixes)], cells)


def _exact(x: float) -> str:
    return "–" if math.isnan(x) else f"{x:.0f}" if x == round(x, 0) and abs(x) < 1e9 else f"{x:.6g}"


def _settings(manifest: Mapping[str, Any]) -> str:
    skipped = manifest.get("skipped", [])
    entries = {k: v for k, v in manifest.items() if k not in ("skipped", "warnings")}
    left_out = table(
        ["tensor", "shape", "dtype", "why"],
        [
            [esc(s["name"]), esc(" × ".join(map(str, s["shape"]))), esc(s["dtype"]), esc(s["reason"])]
            for s in skipped
        ],
    )
    return (
        '<section id="settings"><h2>Settings</h2>'
        f"{definitions(entries)}"
        f"<details><summary>Left out: {len(skipped)} tensors</summary>{left_out if skipped else ''}</details></section>"
    )


def _columns() -> str:
    rows = [
        [f"<code>{esc(name)}</code>", esc(c.unit), esc(c.formula), esc(c.source)]
        for name, c in (COLUMNS["matrices"] | COLUMNS["spectra"]).items()
    ]
    return (
        '<section id="columns"><h2>Columns</h2><details><summary>What the columns of matrices.parquet and '
        "spectra.parquet mean</summary><p>W is (m, n), y = W x; a = max(m, n), b = min(m, n); s are its singular "
        "values in descending order, λ = s²; [w] is the unit of the weights. Columns of a random control, which goes "
        "down the same path, carry the prefix <code>control_</code>.</p>"
        f"{table(['column', 'unit', 'formula', 'source'], rows, kind='wide')}</details></section>"
    )
