"""What a removal study says and draws of directions taken from the stream before each norm."""

import math
from collections.abc import Sequence
from typing import Any

from eigensweep.engine.report.charts import Axis, Band, Chart, Panel, Rule, Series
from eigensweep.engine.studies.ablation.charts import changes_axis
from eigensweep.engine.studies.ablation.covariance import SCOPE
from eigensweep.engine.studies.ablation.study import Ablation

HEADING = "directions taken out of what each norm reads: a tenth of the eigenvectors of its covariance, or random ones"
_GAINS = {
    "energy": "gains of the norms times sqrt(1 - share)",
    "width": "gains of the norms times sqrt(d'/d)",
    "none": "gains of the norms as they are",
}
MEASURES = {
    "loss": ("change", "change_low", "change_high", "change of the loss (nats)"),
    "accuracy": ("accuracy_change", "accuracy_low", "accuracy_high", "change of the accuracy"),
}
_READING = (
    "A tenth of the eigenvectors of the stream's covariance is taken out of what each norm reads (1 holds the largest "
    "eigenvalues), by decile; grey: as many random directions, the range of their intervals. Bars: bootstrap intervals "
    "over rows. The share is of the squared length of what the norms read, on the calibration text."
)


def records(study: Ablation) -> list[dict[str, Any]]:
    """The rows of the table about the stream."""
    return study.results[study.results["scope"] == SCOPE].to_dict("records")


def name_of(row: dict[str, Any]) -> str:
    """`decile:3` of `covariance:decile:3`."""
    return str(row["removal"]).partition(":")[2]


def note(study: Ablation) -> str:
    """Where the covariances come from, and what was done to the gains."""
    said = study.manifest["evaluation"].get("calibration", {}).get("said", "?")
    return f"covariances of {said}; {_GAINS[study.manifest['options'].get('gain', 'energy')]}"


def charts(study: Ablation) -> list[Chart]:
    """Changes of loss and accuracy by decile, and how much of the signal went; none where nothing was taken."""
    rows = [row for row in records(study) if math.isfinite(row["change_low"])]
    if not rows:
        return []
    x = Axis("decile of eigenvectors removed (1 = largest)", ticks=[(float(k), str(k)) for k in range(1, 11)])
    found = []
    for measure, (y, low, high, label) in MEASURES.items():
        panels = [_panel(rows, y, low, high, _shares(rows) if measure == "loss" else "")]
        axis = changes_axis(label, [row[y] for row in rows]) if measure == "loss" else Axis(label)
        heading = f"Change of the {measure}, stream projected before each norm"
        seen = _seen(rows, y, "nats" if measure == "loss" else "in accuracy")
        found.append(Chart(heading, seen, note(study), _READING, x, axis, panels))
    return found


def _panel(rows: Sequence[dict[str, Any]], y: str, low: str, high: str, said: str) -> Panel:
    deciles, random = _deciles(rows), [row for row in rows if row["kind"] == "covariance random"]
    change, ends = [row[y] for row in deciles], [[row[key] for row in deciles] for key in (low, high)]
    places = [float(_number(row)) for row in deciles]
    series = [Series("a tenth of the eigenvectors", places, change, ends[0], ends[1], "line+points")] if deciles else []
    below, above = min((row[low] for row in random), default=0.0), max((row[high] for row in random), default=0.0)
    bands = [Band("a tenth in random directions", [0.5, 10.5], [below] * 2, [above] * 2)] if random else []
    return Panel(SCOPE, series, bands, [Rule("", "y", 0.0, dashed=False)], said)


def _shares(rows: Sequence[dict[str, Any]]) -> str:
    """Of the signal: the first decile's, the last one's, that of random directions."""
    deciles, random = _deciles(rows), [row for row in rows if row["kind"] == "covariance random"]
    shares = [
        f"decile {_number(row)} holds {100 * row['energy']:.2g} % of the signal"
        for row in deciles[:: max(1, len(deciles) - 1)]
    ]
    return "; ".join([*shares, *(f"random directions {100 * row['energy']:.2g} %" for row in random[:1])])


def _deciles(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((row for row in rows if row["kind"] == "covariance decile"), key=_number)


def _number(row: dict[str, Any]) -> int:
    return int(row["removal"].rpartition(":")[2])


def _seen(rows: Sequence[dict[str, Any]], y: str, unit: str) -> str:
    """The decile without which most changes, the one without which least does, and the range of the random ones."""
    deciles, random = _deciles(rows), sorted(row[y] for row in rows if row["kind"] == "covariance random")
    parts = []
    if deciles:
        most, least = (f(deciles, key=lambda row: abs(row[y])) for f in (max, min))
        parts.append(f"without decile {_number(most)} {most[y]:+.3g} {unit}, decile {_number(least)} {least[y]:+.2g}")
    if random:
        ends = dict.fromkeys(f"{change:+.3g}" for change in (random[0], random[-1]))  # of one draw once
        parts.append(f"as many random directions {' to '.join(ends)}")
    return ", ".join(parts)
