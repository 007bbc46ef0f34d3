"""What the tests of coherence found, on a terminal: shares by kind, block and index beside their controls."""

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.style import aligned, number, percent
from eigensweep.engine.studies.tokens.shares import above_level, level_of, shares
from eigensweep.engine.studies.tokens.study import Tokens
from eigensweep.engine.studies.tokens.testing import DIRECTION, EMBEDDING, GAUSSIAN, MODEL, NEURON

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = {
    "group": ("share coherent", "of which directions; indices count from 1, those of last from the end"),
    "tests": ("tests", "directions, sides and signs"),
    "share": ("p <= level", "share of tests that are at the level: of noise the level itself"),
    "interval": ("95 %", "Wilson's interval, as if tests were independent"),
    "rejected": ("rejected", "share rejected by Benjamini-Hochberg over the run"),
    "gaussian": ("Gaussian", "share at the level of Gaussian weights down the same path"),
    "signs": ("signs", "share at the level of the model's weights with random signs"),
}
_UNITS = {DIRECTION: "directions of circuits", NEURON: "single neurons", EMBEDDING: "directions of the embedding"}
_WIDTH = 100


def lines_of(table: "pd.DataFrame") -> list[list[str]]:
    """Rows of text, a cell a heading; blocks first and last of many."""
    result = []
    for row in table.to_dict("records"):
        if row["by"] == "all":
            result.append(_cells(row, _UNITS[row["unit"]]))
        elif row["unit"] == DIRECTION or row["by"] == "kind":
            said = {"kind": row["group"], "block": f"block {row['group']}", "index": f"index {row['group']}"}
            result.append(_cells(row, f"  {said.get(row['by'], 'the last ones')}"))
    return result


def _cells(row: Mapping[str, Any], name: str) -> list[str]:
    interval = f"{100 * row['low']:.1f}-{100 * row['high']:.1f}"
    shares_of = [_share(row[key]) for key in ("share", "rejected", "gaussian", "signs")]
    return [name, str(row["tests"]), shares_of[0], interval if row["tests"] else "–", *shares_of[1:]]


def _share(x: float) -> str:
    return f"{100 * x:.1f} %" if math.isfinite(x) else "–"


def said(found: Tokens, table: "pd.DataFrame") -> list[str]:
    """Sentences that the tests stand behind, or that describe and claim nothing."""
    level, rows = level_of(found), {row["unit"]: row for row in table[table["by"] == "all"].to_dict("records")}
    own, sentences = rows[DIRECTION], []
    rejected = round(own["rejected"] * own["tests"])
    sentences.append(
        f"Of {own['tests']} tests (a direction, side and sign each) Benjamini-Hochberg at {level:g} takes {rejected} "
        f"for coherent ({percent(own['rejected'])}). {percent(own['share'])} have p <= {level:g}; of noise "
        f"{percent(level)} would, and of Gaussian weights {percent(own['gaussian'])} do."
    )
    above, others = above_level(table, level)
    where = (
        f"at indices {', '.join(above)}{', not at ' if others else ''}{', '.join(others)}" if above else "at no index"
    )
    sentences.append(
        f"More directions than of noise are at the level {where} (intervals of 95 % for all of them together)."
    )
    beside = [f"{_UNITS[unit]} {percent(rows[unit]['share'])}" for unit in (NEURON, EMBEDDING) if unit in rows]
    if beside:
        sentences.append(f"At the level beside them: {', '.join(beside)}.")
    return [*sentences, *_frequency(found), *_centroids(found), *_decay(found)]


def _frequency(found: Tokens) -> list[str]:
    of = found.directions
    first, rest = of[of["index"] == 1], of[of["index"].between(9, 32)]
    if not first["r_frequency"].notna().any() or rest.empty:
        return []
    source = found.manifest.get("frequency", "")
    at = (first["p_frequency"] <= 0.05).mean()
    return [
        f"With token frequency by {source} scores correlate by |r| = {first['r_frequency'].abs().median():.2f} "
        f"(median, index 1; p <= 0.05 in {percent(at)}) and {rest['r_frequency'].abs().median():.2f} (index 9 to 32; "
        f"{percent((rest['p_frequency'] <= 0.05).mean())})."
    ]


def _centroids(found: Tokens) -> list[str]:
    sides, signs = found.sides, found.directions[found.directions["sign"] == 1]
    if not len(sides) or not sides["centroid_within"].notna().any():
        return []
    parts = []
    for kind, of in sides[sides["weights"] == MODEL].groupby("kind", sort=False):
        parts.append(f"{kind} {of['centroid_within'].mean():.2f} ({of['centroid_within_null'].mean():.2f})")
    units = found.units
    null = units.loc[(units["weights"] == GAUSSIAN) & (units["unit"] == DIRECTION), "centroid_signs"].mean()
    tail = f" (Gaussian {null:.2f})" if np.isfinite(null) else ""
    return [
        f"Token centroids of a circuit's directions have a mean cosine (random ones) of {', '.join(parts)}; those of "
        f"the two signs of a direction {signs['centroid_signs'].mean():.2f}{tail}."
    ]


def _decay(found: Tokens) -> list[str]:
    of = found.circuits
    if "decay_length" not in of:
        return []
    parts = []
    for kind, rows in of.groupby("kind", sort=False):
        off, null = rows["decay_deviation"].median(), rows["gaussian_decay_deviation"].median()
        beside = f", Gaussian {null:.2f}" if np.isfinite(null) else ""
        parts.append(f"{kind} c = {number(rows['decay_length'].median())} (off by {off:.2f}{beside})")
    return [f"Spectra against exp(-i/c) up to the rank, rms of ln s about the line: {'; '.join(parts)}."]


def render_coherence(found: Tokens) -> str:
    """The table and the sentences as plain text; "" where nothing was tested."""
    table = shares(found)
    if table.empty:
        return ""
    shown = aligned([[heading for heading, _ in HEADINGS.values()], *lines_of(table)])
    return "\n\n".join([shown, *(textwrap.fill(sentence, _WIDTH) for sentence in said(found, table))])
