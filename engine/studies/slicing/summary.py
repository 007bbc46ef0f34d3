"""A slicing study as text: every width with its loss, and what stands beside it at as many parameters."""

import textwrap
from collections.abc import Mapping
from typing import Any

from eigensweep.engine.report.style import aligned, interval, signed
from eigensweep.engine.studies.slicing.slicer import BASELINE, COVARIANCE, RANDOM, SINGULAR
from eigensweep.engine.studies.slicing.study import Slicing

HEADINGS = ("width", "kept", "along", "parameters", "energy", "loss", "change", "interval", "accuracy")
READING = (
    "The stream is cut to a width along eigenvectors of its covariance, or along random directions; singular values: "
    "every matrix at the largest rank whose two factors have no more parameters than its slice. Energy: the "
    "share of |x|² that is kept, for singular values that of |W|²."
)


def render(study: Slicing) -> str:
    """The study's results as aligned plain text. Changes of the mean loss are in nats."""
    head = [*textwrap.wrap(f"{baseline(study)}. {source(study)}. {note(study)}. {READING}", 98), ""]
    return "\n".join([*head, aligned([HEADINGS, *members(study)], 4), "", *textwrap.wrap(seen(study), 98)])


def baseline(study: Slicing) -> str:
    """The model as it is."""
    row, evaluation = study.results.iloc[0], study.manifest["evaluation"]
    return (
        f"Baseline: width {row['width']}, {row['parameters']} parameters, loss {row['loss']:.4f} nats, perplexity "
        f"{row['perplexity']:.4g}, accuracy {row['accuracy']:.4f} ({evaluation['targets']} targets in "
        f"{evaluation['rows']} rows)"
    )


def source(study: Slicing) -> str:
    """Where the covariance comes from."""
    return f"Covariance of {study.manifest['evaluation']['calibration']['said']}"


def note(study: Slicing) -> str:
    """What the intervals are."""
    return f"Paired {100 * study.manifest['options']['confidence']:g} % bootstrap intervals over rows"


def members(study: Slicing) -> list[tuple[str, ...]]:
    """A row of text a model that was measured, a cell a heading."""
    return [_cells(row) for row in study.results.to_dict("records") if row["method"] != BASELINE]


def seen(study: Slicing) -> str:
    """At how many widths the slice costs less, or more, than the removal of singular values at equal parameters."""
    widths = [row.width for row in study.results.itertuples() if row.method == SINGULAR]
    found = {width: study.contrast(width) for width in widths}
    if not widths:
        return "No width below the model's own was measured"
    less, more = [w for w in widths if found[w][2] < 0], [w for w in widths if found[w][1] > 0]
    words = [
        f"a {word} loss at {len(those)} of {len(widths)} widths ({', '.join(map(str, those))})"
        for word, those in (("lower", less), ("higher", more))
        if those
    ]
    if not words:
        return "At no width do the intervals tell slicing and removing singular values at equal parameters apart"
    return f"Slicing leaves {' and '.join(words)} than removing singular values at equal parameters"


def seen_accuracy(study: Slicing) -> str:
    """The accuracy at the narrowest width, beside that without singular values."""
    narrow = study.results[study.results["width"] == study.results["width"].min()]
    found = dict(zip(narrow["method"], narrow["accuracy"], strict=True))
    beside = f", {found[SINGULAR]:.3f} without singular values" if SINGULAR in found else ""
    whole = study.results["accuracy"].iloc[0]
    return f"Accuracy at width {narrow['width'].iloc[0]}: {found[COVARIANCE]:.3f}{beside}; baseline {whole:.3f}"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row["width"]),
        f"{100 * row['share']:.3g} %",
        row["method"] + (f", draw {row['draw']}" if row["method"] == RANDOM else ""),
        str(row["parameters"]),
        f"{100 * row['energy']:.4g} %",
        f"{row['loss']:.4f}",
        signed(row["change"]),
        interval(row["change_low"], row["change_high"]),
        f"{row['accuracy']:.4f}",
    )
