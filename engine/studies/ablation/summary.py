"""A removal study as text: every removal's change with its interval; the smallest decile against the middle ones."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from eigensweep.engine.report.style import aligned, interval, signed
from eigensweep.engine.studies.ablation import matched_summary, stream_report
from eigensweep.engine.studies.ablation.study import BASELINE, Ablation

MIDDLE = ("decile:5", "decile:6")
_CHANGE = ("change", "interval")
HEADINGS = ("scope", "removal", "values", "share of |W|²", "loss", *_CHANGE, "accuracy", *_CHANGE)
STREAM_HEADINGS = ("removal", "directions", "share", *HEADINGS[4:])
CONTRAST = "smallest decile against the middle two (mean of 5 and 6), difference of the loss in nats"
CONTRAST_HEADINGS = ("scope", "difference", "interval", "verdict", "deciles that matter less than the smallest")


def render(study: Ablation) -> str:
    """The study's results as aligned plain text. Changes of the mean loss are in nats."""
    lines = [baseline(study)]
    if of_matrices := removals(study):
        lines += ["", aligned([headings(study), *of_matrices], 2)]
    if of_stream := stream_removals(study):
        said = textwrap.wrap(f"{stream_report.HEADING}; {stream_report.note(study)}", 98)
        lines += ["", *said, aligned([row[:-1] for row in (STREAM_HEADINGS, *of_stream)], 2)]
    if found := verdicts(study):
        lines += ["", f"{CONTRAST}:", aligned([CONTRAST_HEADINGS, *found], 2)]
    if pairs := matched_summary.matched_controls(study):
        table = aligned([matched_summary.HEADINGS, *matched_summary.cells(pairs)], 2)
        lines += ["", *textwrap.wrap(f"{matched_summary.HEADING}: {matched_summary.CAPTION}:", 100), table]
        lines += [line for text in matched_summary.sentences(pairs) for line in textwrap.wrap(text, 100)]
    return "\n".join(lines)


def baseline(study: Ablation) -> str:
    """The model as it is, in a sentence."""
    rows, evaluation = study.results.to_dict("records"), study.manifest["evaluation"]
    row = next(row for row in rows if (row["scope"], row["removal"]) == BASELINE)
    return (
        f"baseline: loss {row['loss']:.4f} nats, perplexity {row['perplexity']:.4g}, accuracy {row['accuracy']:.4f} "
        f"({evaluation.get('measure', 'loss')} on {evaluation.get('targets', '?')} targets in "
        f"{evaluation.get('rows', '?')} rows); {100 * study.manifest['options']['confidence']:g} % bootstrap intervals"
    )


def headings(study: Ablation) -> tuple[str, ...]:
    """Of `removals`; what goes of the outputs is told where the study knows it."""
    place = HEADINGS.index("loss")
    return (*HEADINGS[:place], *(("of outputs",) if _knows_outputs(study) else ()), *HEADINGS[place:])


def removals(study: Ablation) -> list[tuple[str, ...]]:
    """A row of text a removal from matrices, a cell a heading."""
    rows = study.results[study.results["scope"] != stream_report.SCOPE].to_dict("records")
    outputs = _knows_outputs(study)
    return [_cells(row, outputs) for row in rows if (row["scope"], row["removal"]) != BASELINE and _says_something(row)]


def _knows_outputs(study: Ablation) -> bool:
    """Runs before version 0.4 have no such column."""
    return "output_energy" in study.results and bool(study.results["output_energy"].notna().any())


def stream_removals(study: Ablation) -> list[tuple[str, ...]]:
    """The same of removals from the stream."""
    return [(stream_report.name_of(row), *_cells(row, outputs=False)[2:]) for row in stream_report.records(study)]


def verdicts(study: Ablation) -> list[tuple[str, ...]]:
    """A row of text a scope: its smallest decile against its middle ones."""
    return [_contrast_cells(study, scope, *three) for scope, three in contrasts(study).items()]


def _contrast_cells(study: Ablation, scope: str, difference: float, low: float, high: float) -> tuple[str, ...]:
    less = [k for k in range(2, 10) if study.contrast(scope, ["decile:10"], [f"decile:{k}"])[1] > 0]
    return (scope, signed(difference), interval(low, high), verdict(low, high), ", ".join(map(str, less)) or "none")


def contrasts(study: Ablation) -> dict[str, tuple[float, float, float]]:
    """By scope: the loss without the smallest decile less that without a middle one, with its interval."""
    result = {}
    for scope, group in study.results.groupby("scope", sort=False):
        if {f"decile:{k}" for k in range(2, 11)} <= set(group["removal"]):
            result[str(scope)] = study.contrast(str(scope), ["decile:10"], list(MIDDLE))
    return result


def verdict(low: float, high: float) -> str:
    """What an interval of a difference says."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "a loss is not finite"
    if low > 0:
        return "the smallest matters more"
    return "the middle matters more" if high < 0 else "no difference to be seen"


def _says_something(row: Mapping[str, Any]) -> bool:
    """A second draw of nothing does not."""
    return bool(row["removed"]) or row["draw"] == 0


def _cells(row: Mapping[str, Any], outputs: bool) -> tuple[str, ...]:
    if not row["removed"]:
        return (row["scope"], row["removal"], f"0/{row['values']}", *["–"] * (7 + outputs))
    return (
        row["scope"],
        row["removal"],
        f"{row['removed']}/{row['values']}",
        _percent(row["energy"]),
        *([_percent(row["output_energy"])] if outputs else []),
        f"{row['loss']:.4f}",
        signed(row["change"]),
        interval(row["change_low"], row["change_high"]),
        f"{row['accuracy']:.4f}",
        f"{row['accuracy_change']:+.4f}",
        f"[{row['accuracy_low']:+.4f}, {row['accuracy_high']:+.4f}]",
    )


def _percent(share: float | None) -> str:
    return "–" if share is None or math.isnan(share) else f"{100 * share:.2g} %"
