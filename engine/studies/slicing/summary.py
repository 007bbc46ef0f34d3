"""A slicing study as text: every width with its loss, and what stands beside it at as many parameters."""

import textwrap
from collections.abc import Mapping
from typing import Any

from eigensweep.engine.report.style import aligned, interval, signed
from eigensweep.engine.studies.slicing.slicer import BASELINE, SINGULAR
from eigensweep.engine.studies.slicing.study import Slicing

HEADINGS = ("width", "kept", "along", "parameters", "energy", "loss", "change", "interval", "accuracy")
READING = (
    "The stream is cut to a width along eigenvectors of its covariance, or along random directions; singular values: "
    "every matrix at the rank whose two factors have as many parameters as its slice. Energy: the share that is kept."
)


def render(study: Slicing) -> str:
    """The study's results as aligned plain text. Changes of the mean loss are in nats."""
    head = [*textwrap.wrap(f"{baseline(study)}. {note(study)}. {READING}", 98), ""]
    return "\n".join([*head, aligned([HEADINGS, *members(study)], 4), "", *textwrap.wrap(seen(study), 98)])


def baseline(study: Slicing) -> str:
    """The model as it is, in a sentence."""
    row, evaluation = study.results.iloc[0], study.manifest["evaluation"]
    return (
        f"baseline: width {row['width']}, {row['parameters']} parameters, loss {row['loss']:.4f} nats, perplexity "
        f"{row['perplexity']:.4g}, accuracy {row['accuracy']:.4f} ({evaluation['targets']} targets in "
        f"{evaluation['rows']} rows)"
    )


def note(study: Slicing) -> str:
    """Where the covariance comes from, and what the intervals are."""
    said = study.manifest["evaluation"]["calibration"]["said"]
    return f"covariance of {said}; {100 * study.manifest['options']['confidence']:g} % bootstrap intervals over rows"


def members(study: Slicing) -> list[tuple[str, ...]]:
    """A row of text a model that was measured, a cell a heading."""
    return [_cells(row) for row in study.results.to_dict("records") if row["method"] != BASELINE]


def seen(study: Slicing) -> str:
    """At how many widths the slice costs less, or more, than the removal of singular values at equal parameters."""
    widths = [row.width for row in study.results.itertuples() if row.method == SINGULAR]
    found = {width: study.contrast(width) for width in widths}
    if not widths:
        return "no width below the model's own was measured"
    less, more = [w for w in widths if found[w][2] < 0], [w for w in widths if found[w][1] > 0]
    words = [
        f"{word} at {len(those)} of {len(widths)} widths ({', '.join(map(str, those))})"
        for word, those in (("less", less), ("more", more))
        if those
    ]
    if not words:
        return "slicing and removing singular values at equal parameters cost the same within the intervals"
    return f"slicing costs {' and '.join(words)} than removing singular values at equal parameters"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row["width"]),
        f"{100 * row['share']:.3g} %",
        row["method"] + (f", draw {row['draw']}" if row["draw"] else ""),
        str(row["parameters"]),
        f"{100 * row['energy']:.4g} %",
        f"{row['loss']:.4f}",
        signed(row["change"]),
        interval(row["change_low"], row["change_high"]),
        f"{row['accuracy']:.4f}",
    )
