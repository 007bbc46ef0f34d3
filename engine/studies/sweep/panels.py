"""What the report shows of a sweep: its summary, its figures role by role, and every matrix."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eigensweep.engine.report import style
from eigensweep.engine.report.page import Picture, checkpoint_name, esc, gallery, matters, table, text_table
from eigensweep.engine.report.registry import Panels, Section
from eigensweep.engine.report.spectrum import (
    Spectrum,
    block_of,
    by_role,
    control_label,
    level_of,
    scalar,
    shown_control,
)
from eigensweep.engine.report.style import number, shorten, slug
from eigensweep.engine.studies.sweep import (
    family,
    figure_heatmaps,
    figure_pvalues,
    figure_ranks,
    figure_spectra,
    summary,
)
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.studies.sweep.svg import pictures
from eigensweep.engine.tables.columns import label
from eigensweep.engine.tables.groups import group_of
from eigensweep.engine.tables.matrices import (
    CONTROLS,
    EQUALISED,
    PROFILE,
    SCALARS,
    SIGNS,
    control_prefix,
    with_controls,
)

MAX_PICTURED = 500  # matrices with small pictures; about 6 kB each
MOST_Z = 3  # beyond it a mean p-value is coloured
TABLE = (
    "num_right_outliers", "num_right_outliers_beyond_signs", "equalised_num_right_outliers",
    "num_left_outliers", "num_left_outliers_beyond_signs", "equalised_num_left_outliers",
    "stable_rank", "alpha", "mp_ks", "mean_p_right", "mean_p_left", "phase",
)  # fmt: skip
COLUMNS = with_controls(tuple(CONTROLS), equalised=True, signs=True)["matrices"]
_SPECTRUM = (
    "Top: histograms averaged over the matrices, each in units of its own σ √max(m, n), with the Marchenko–Pastur "
    "density of the bulk: as they are, and with rows and columns brought to one scale (Dyson equalizer). Below: the "
    "singular values near both edges, one row a matrix, as they are; blue ones are beyond what independent entries "
    "of one scale reach at the chosen level."
)
_P_VALUES = (
    "p-values of the singular vectors' entries against a random unit vector, averaged over 15 neighbouring indices; "
    "thin: single matrices (of a crowd the range of 80 %), bold: their mean. Grey: one standard deviation of noise's "
    "averages, wider where the window is short, darker for the mean's. Gaps: vectors without a p-value, because the "
    "matrix does not determine them or the entries' kurtosis decides."
)
_RANKS = "Singular values against rank on logarithmic axes, in units of σ √max(m, n)."
_MAPS = "Blocks from left to right, roles from top to bottom; medians where a cell holds several matrices."


def panels(run: Run, directory: Path) -> Panels:
    """Draw a sweep's figures into `directory`/figures; what the page shows of it."""
    groups, rows = by_role(run), run.matrices.to_dict("records")
    sections = [Section("Summary", _summary(run))]
    overview = _overview(run, groups, directory / "figures")
    if overview:
        sections.append(Section("All roles", gallery(overview)))
    names = style.slugs(groups)
    for role, members in groups.items():
        shown = _of_role(role, members, run, directory / "figures", names[role])
        sections.append(Section(role, gallery(shown)))
    sections.append(Section("Matrices", _matrices(rows, groups)))
    failed = [f"{shorten(row['name'], 200)}: {row['status']}" for row in rows if row["status"] != "ok"]
    swept = f"{len(rows)} swept, {len(run.manifest.get('skipped', []))} tensors left out"
    return Panels(f"Weight spectra of {checkpoint_name(run)}", sections, failed, {"matrices": swept})


def _overview(run: Run, groups: dict[str, list[Spectrum]], folder: Path) -> list[Picture]:
    shown = []
    maps = figure_heatmaps.draw(run)
    if maps is not None:
        seen = "; ".join(f"{name}: {what}" for name, what in figure_heatmaps.titles(run))
        shown.append(Picture(style.save(maps, folder / "heatmaps"), seen, "block by role", _MAPS))
    if groups:
        ranks = style.save(figure_ranks.draw(groups), folder / "ranks")
        shown.append(Picture(ranks, *figure_ranks.title(groups), _RANKS))
    return shown


def _of_role(role: str, members: list[Spectrum], run: Run, folder: Path, name: str) -> list[Picture]:
    level, control = level_of(run), control_label(shown_control(run))
    spectrum = style.save(figure_spectra.draw(role, members, level, control), folder / f"spectrum_{name}")
    p_values = style.save(figure_pvalues.draw(role, members, level, control), folder / f"pvalues_{name}")
    return [
        Picture(spectrum, *figure_spectra.title(role, members, control), _SPECTRUM),
        Picture(p_values, *figure_pvalues.title(role, members, level, control), _P_VALUES),
    ]


def _summary(run: Run) -> str:
    frame = summary.summary_table(run)
    named = summary.headings(frame.columns).values()
    headings = [f'<abbr title="{esc(what)}">{esc(name)}</abbr>' for name, what in named]
    rows = [[esc(c) for c in summary.cells(row)] for row in frame.to_dict("records")]
    return (
        '<p class="note">Medians over the matrices of a role; the random control\'s value in brackets. Right and left: '
        "singular values beyond the edges of the Marchenko–Pastur bulk, as the matrix is: there the null is entries of "
        "one scale, from which rows or columns of different scale depart, too. Signs: values beyond what the same "
        "entries with random signs reach, whatever their scales. Equal.: the matrix with its rows and columns brought "
        "to one scale. Where the law does not fit, counts beyond its edges describe, and only those beyond random "
        "signs are a test. Rejected: singular vectors whose entries do not look like a random direction's.</p>"
        f"{table(headings, rows)}{_family(run)}"
    )


def _family(run: Run) -> str:
    """The run's tests as one family."""
    frame = family.family_table(run)
    if frame.empty:
        return ""
    note = f"{family.NOTE.capitalize()}. Survive: rejected by Benjamini-Hochberg over all matrices of the run."
    rows = [family.cells(row) for row in frame.to_dict("records")]
    heading = f"<h3>{esc(family.CAPTION)}</h3>{matters(note)}"
    return heading + text_table([*family.HEADINGS.values()], rows, kind="pairs")


def _matrices(rows: list[dict[str, Any]], groups: Mapping[str, Sequence[Spectrum]]) -> str:
    anchors = [f"m{i}-{slug(str(row['name']))}" for i, row in enumerate(rows)]  # unique, readable where the name is
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
    shown = [column for column in TABLE if any(column in row for row in rows[:1])]
    headings = ["name", "role", "block", "shape", *(label(COLUMNS, column) for column in shown), "status"]
    buttons = [f'<button type="button">{esc(h)}</button>' for h in headings]
    overview = table(
        buttons, [_row(r, a, shown) for r, a in zip(rows, anchors, strict=True)], kind="pairs", identity="all"
    )
    return (
        '<p class="note">Click a heading to sort. Coloured mean p-values lie more than '
        f"{MOST_Z} standard deviations of noise's from 0.5.{note}</p>"
        '<label>Show only names, roles or statuses that hold <input id="filter" type="search"></label>'
        f"{overview}\n{''.join(sections)}"
    )


def _row(row: Mapping[str, Any], anchor: str, shown: Sequence[str]) -> list[str]:
    block = block_of(row)
    name = esc(shorten(row["name"], 120)).replace(".", ".<wbr>")  # where a long one breaks
    return [
        f'<a href="#{anchor}">{name}</a>',
        esc(shorten(group_of(row).label, 40)),
        "" if block is None else str(block),
        f"{row['m']} × {row['n']}",
        *(_cell(row, column) for column in shown),
        "ok" if row["status"] == "ok" else f'<span class="bad">{esc(row["status"])}</span>',
    ]


def _cell(row: Mapping[str, Any], column: str) -> str:
    """A number; in colour a mean p-value that noise's would not stray to."""
    if isinstance(row.get(column), str):
        return esc(shorten(row[column], 80))
    text, z = number(scalar(row, column)), scalar(row, f"{column}_z")
    return f'<span class="bad" title="z = {z:.1f}">{text}</span>' if abs(z) > MOST_Z else text


def _section(row: Mapping[str, Any], anchor: str, spectrum: Spectrum | None) -> str:
    block = block_of(row)
    place = group_of(row).label + ("" if block is None else f", block {block}")
    status = "" if row["status"] == "ok" else f' <span class="bad">{esc(row["status"])}</span>'
    drawn = f'<div class="pictures">{pictures(spectrum, row)}</div>' if spectrum else ""
    name = "" if len(str(row["name"])) <= 200 else f"<p><code>{esc(row['name'])}</code></p>"
    shape = f"{row['m']} × {row['n']}, {esc(row['dtype'])}"
    head = f"{esc(shorten(row['name'], 200))}<small>{esc(shorten(place, 60))}, {shape}</small>{status}"
    return f'<details id="{anchor}"><summary>{head}</summary>{name}{drawn}{_numbers(row)}</details>\n'


def _numbers(row: Mapping[str, Any]) -> str:
    """All scalars of a matrix, its other readings' and its controls' beside them; what it has once below."""
    names = {"": "as it is", EQUALISED: "equalised"} | {
        prefix: f"control, {kind}" for kind in CONTROLS if (prefix := control_prefix(kind))
    }
    prefixes = [prefix for prefix in names if f"{prefix}stable_rank" in row]
    beside = [[c, *(_exact(row.get(p + c)) for p in prefixes)] for c in SCALARS]
    once = [[c, _exact(row.get(c))] for c in (*SIGNS, *PROFILE) if c in row]
    tables = {
        ("", *(names[p] for p in prefixes)): _known(beside),
        ("", "against random signs; scales of rows and columns"): _known(once),
    }
    return "".join(table(list(heading), cells) for heading, cells in tables.items() if cells)


def _known(cells: list[list[str]]) -> list[list[str]]:
    return [row for row in cells if any(cell != "–" for cell in row[1:])]


def _exact(value: Any) -> str:
    if isinstance(value, str) and value:
        return esc(value)
    x = scalar({"": value}, "")
    return "–" if math.isnan(x) else f"{x:.0f}" if x == round(x, 0) and abs(x) < 1e9 else f"{x:.6g}"
