"""The tokens study: singular directions of circuits, read as the tokens that they write or read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Finding, Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.tokens import coherence_summary, figures, summary
from eigensweep.engine.studies.tokens.charts import charts
from eigensweep.engine.studies.tokens.page import page_data
from eigensweep.engine.studies.tokens.shares import SHARES, shares
from eigensweep.engine.studies.tokens.study import LAYOUT, Tokens, open_tokens
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.files import write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_of(found: Tokens) -> View:
    """What the page shows of the study."""
    kinds = [summary.cells(row) for row in summary.kinds_table(found).to_dict("records")]
    headings = [("direction", "blocks and heads from 0, index from 1"), ("side", "what it is to the stream")]
    headings += [("s", "its singular value"), ("+", "tokens with the largest scores"), ("-", "with the smallest")]
    shown = [
        [row["address"], row["side"], f"{row['s']:.3g}", *(" ".join(row["words"][sign]) for sign in (1, -1))]
        for row in summary.shown_directions(found, most=60)
    ]
    note = "Of each block and kind the circuit with the largest singular value; all are in directions.parquet."
    return View(
        f"Directions as tokens of {checkpoint_name(found)}",
        _findings(found),
        tables=[
            Table("Circuits", [*summary.HEADINGS.values()], kinds),
            *_coherence(found),
            Table("First directions", headings, shown, note),
        ],
        data={"charts": as_data(charts(found)), "tokens": page_data(found)},
    )


def _findings(found: Tokens) -> list[Finding]:
    """How many lists of tokens hang together, and at which indices; none where nothing was tested."""
    table = shares(found)
    if table.empty:
        return []
    text, *rest = coherence_summary.said(found, table)
    return [Finding(text, " ".join(rest[:2]), {"view": "tokens"})]


def _coherence(found: Tokens) -> list[Table]:
    table = shares(found)
    if table.empty:
        return []
    headings, lines = [*coherence_summary.HEADINGS.values()], coherence_summary.lines_of(table)
    return [Table("Coherence of the top tokens", headings, lines, " ".join(coherence_summary.said(found, table)))]


def figures_of(found: Tokens) -> Mapping[str, Callable[[], "Figure"]]:
    """Shares of coherent directions where they were tested; the circuits' spectra."""
    drawn: dict[str, Callable[[], Figure]] = {"circuit_spectra": partial(figures.draw_spectra, found)}
    return drawn if shares(found).empty else {"coherent_shares": partial(figures.draw_shares, found), **drawn}


def derive(found: Tokens, directory: Path) -> None:
    """Write shares.parquet, where directions were tested."""
    if not (table := shares(found)).empty:
        write_table(directory / "shares.parquet", to_table(SHARES, table.to_dict("records")))


_LAYOUT = replace(LAYOUT, tables={**LAYOUT.tables, "shares": SHARES})
REPORTED = register(Reported(_LAYOUT, open_tokens, view_of, figures_of, derive))
