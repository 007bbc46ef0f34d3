"""Outlier dimensions in words and tables: which they are, where they recur, what the loss is without them."""

import textwrap

import numpy as np
import pandas as pd

from eigensweep.engine.report.registry import Table
from eigensweep.engine.report.style import aligned, number, percent
from eigensweep.engine.studies.facts.study import Facts

MOST = 12  # dimensions in a list; the table has all
_HEADINGS = [
    ("dimension", "of the residual stream, from 0"),
    ("taps", "share of the stream's taps at which its mean or its sd is beyond 6 robust sd of the dimensions'"),
    ("robust z", "its largest at any tap"),
    ("int8", "share of blocks before which |x| >= 6 for at least 6 % of the tokens; LLM.int8's rule wants 25 %"),
    ("gains", "norms whose gain there is beyond 6 robust sd of their gains"),
    ("loss", "change of the loss without it, nats, with its 95 % bootstrap interval over rows"),
]
_RULE = "by rule, not by a test: |mean| or sd beyond 6 robust sd of all dimensions at a place, or LLM.int8's"
_WHAT = {
    "blocks": "two blocks, the same place",
    "halves": "the two halves of the text",
    "gains": "a tap and a norm's gain",
}


def outlier_table(found: Facts) -> Table:
    """The dimensions, the most extreme first."""
    changes = {row["name"]: row for row in found.ablations.to_dict("records")}
    rows = []
    for row in found.outliers.head(MOST).to_dict("records"):
        change = changes.get(f"dim:{row['dim']}")
        rows.append(
            [
                str(row["dim"]),
                percent(row["share_taps"]),
                number(row["robust_z"]),
                percent(row["share_int8"]),
                str(row["num_gains"]),
                _change(change) if change else "–",
            ]
        )
    left = len(found.outliers) - MOST
    note = f"{left} more in outlier_dimensions.parquet; {_RULE}" if left > 0 else _RULE
    return Table("Outlier dimensions of the residual stream", _HEADINGS, rows, note)


def sentences(found: Facts) -> list[str]:
    """Where the outliers recur, and what removing all of them does beside as many random dimensions."""
    stream = found.distributions[found.distributions["what"] == "stream"]
    lines = [
        f"excess kurtosis of the stream: median {number(stream['kurtosis'].median())} of all dimensions pooled, "
        f"{number(found.dimensions['kurtosis'].median())} of single dimensions"
    ]
    for what, words in _WHAT.items():
        of = found.overlaps[(found.overlaps["what"] == what) & (found.overlaps[["num_a", "num_b"]].min(axis=1) > 0)]
        if len(of):
            lines.append(
                f"outliers of {words}: median Jaccard {of['jaccard'].median():.2f} "
                f"(chance {of['jaccard_chance'].median():.3f}) over {len(of)} pairs that both have some"
            )
    together = _of_kind(found.ablations, "outliers")
    if together:
        sets = ", ".join(f"{row['change']:+.3f}" for row in _of_kind(found.ablations, "random_set"))
        size = len(together[0]["dims"])
        lines.append(f"without {size} of them the loss changes by {_change(together[0])}; without {size} others {sets}")
    single = [row["change"] for row in _of_kind(found.ablations, "random")]
    if single:
        lines.append(f"without one other dimension: median {np.median(single):+.4f} of {len(single)} drawn")
    return lines


def render_outliers(found: Facts) -> str:
    """For a terminal; empty where activations were not studied."""
    if not len(found.dimensions):
        return ""
    if not len(found.outliers):
        return "no dimension of the residual stream is an outlier by either rule"
    table = outlier_table(found)
    shown = aligned([[heading for heading, _ in table.headings], *table.rows])
    said = [textwrap.fill(sentence, 100) for sentence in sentences(found)]
    lines = [f"{table.heading}: {len(found.outliers)}", shown, table.note, *said]
    return "\n".join(line for line in lines if line)


def _of_kind(ablations: pd.DataFrame, kind: str) -> list[dict]:
    return ablations[ablations["kind"] == kind].to_dict("records")


def _change(row: dict) -> str:
    return f"{row['change']:+.3f} ({row['change_low']:+.3f}, {row['change_high']:+.3f})"
