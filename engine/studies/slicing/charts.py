"""What the page draws of a slicing study: changes of loss and accuracy against the share of the width that is kept."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule, Series
from eigensweep.engine.studies.slicing.slicer import COVARIANCE, RANDOM, SINGULAR
from eigensweep.engine.studies.slicing.study import Slicing
from eigensweep.engine.studies.slicing.summary import note, seen, seen_accuracy, source

_METHODS = {  # name, colour, marks
    COVARIANCE: ("along the covariance's eigenvectors", "raw", "line+points"),
    SINGULAR: ("singular values at equal parameters", "law", "line+points"),
    RANDOM: ("along random directions", "control", "points"),
}
MEASURES = {
    "loss": ("change", "change_low", "change_high"),
    "accuracy": ("accuracy_change", "accuracy_low", "accuracy_high"),
}
_READING = (
    "Each point is a whole model on the same rows of text: the stream cut to a share of its width, or every matrix at "
    "the largest rank whose two factors have no more parameters than its slice."
)


def charts(study: Slicing) -> list[Chart]:
    """Changes of the loss, of the accuracy, and the eigenvalues of the covariance."""
    rows = study.results.to_dict("records")
    x = Axis("share of the stream's width that is kept")
    found, said = [], {"loss": seen, "accuracy": seen_accuracy}
    for measure, names in MEASURES.items():
        drawn = [row for row in rows if all(math.isfinite(row[name]) for name in names)]
        label = "change of the loss (nats)" if measure == "loss" else "change of the accuracy"
        series = [s for method in _METHODS if (s := _series(method, drawn, names))]
        panel = Panel("", series, [], [Rule("", "y", 0.0, dashed=False)])
        found.append(
            Chart(
                f"Change of the {measure} by width",
                said[measure](study),
                note(study),
                _READING,
                x,
                Axis(label),
                [panel],
            )
        )
    return [*found, _eigenvalues(study)]


def _series(method: str, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Series | None:
    """A method's changes over the share, random draws one beside the other."""
    mine = [row for row in rows if row["method"] == method]
    name, color, marks = _METHODS[method]
    x = [row["share"] + 0.004 * row["draw"] for row in mine]
    y, low, high = ([row[key] for row in mine] for key in names)
    return Series(name, x, y, low, high, marks, color) if mine else None


def _eigenvalues(study: Slicing) -> Chart:
    evals = study.axes.sort_values("index")["eval"].to_numpy()
    kept = np.cumsum(evals) / np.sum(evals)
    few = int(np.searchsorted(kept, 0.99)) + 1
    return Chart(
        "Eigenvalues of the stream's covariance",
        f"{few} of {len(evals)} eigenvectors hold 99 % of what the norms read",
        source(study),
        "Each token's stream is divided by its root mean square, as a norm does; the eigenvalues, largest first, sum "
        "to the width.",
        Axis("index"),
        Axis("eigenvalue", "log"),
        [Panel("", [Series("", np.arange(1, len(evals) + 1), evals, marks="line+points")])],
    )
