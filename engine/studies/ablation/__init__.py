"""The removal study: what the model loses when chosen singular values are taken out of chosen matrices."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from eigensweep.engine.report import chart_figure
from eigensweep.engine.report.charts import as_data
from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.ablation import matched_summary, stream_report, summary
from eigensweep.engine.studies.ablation.charts import charts
from eigensweep.engine.studies.ablation.figures import draw
from eigensweep.engine.studies.ablation.study import LAYOUT, Ablation, open_ablation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_FIGURE = 12  # panels; a study of single matrices makes several figures


def view_of(study: Ablation) -> View:
    """What the page shows of the study: the summary's tables."""
    named = [(name, "") for name in summary.headings(study)]
    tables = [Table("Removal of singular values", named, summary.removals(study), summary.baseline(study))]
    if of_stream := summary.stream_removals(study):
        heading = f"{stream_report.HEADING[0].upper()}{stream_report.HEADING[1:]}"
        columns = [(name, "") for name in summary.STREAM_HEADINGS]
        said = f"{summary.baseline(study)}; {stream_report.note(study)}"
        tables = [*(tables if tables[0].rows else ()), Table(heading, columns, of_stream, said)]
    if found := summary.verdicts(study):
        caption = f"{summary.CONTRAST[0].upper()}{summary.CONTRAST[1:]}"
        tables.append(Table(caption, [(name, "") for name in summary.CONTRAST_HEADINGS], found))
    if pairs := matched_summary.matched_controls(study):
        heading, said = matched_summary.HEADING.capitalize(), "; ".join(matched_summary.sentences(pairs))
        columns = [(name, "") for name in matched_summary.HEADINGS]
        cells = matched_summary.cells(pairs)
        tables.append(Table(heading, columns, cells, f"{matched_summary.CAPTION.capitalize()}. {said}"))
    what = "singular values" if summary.removals(study) or not of_stream else "directions of the stream"
    return View(
        f"Removal of {what} from {checkpoint_name(study)}",
        tables=tables,
        data={"charts": as_data([*charts(study), *stream_report.charts(study)])},
    )


def figures_of(study: Ablation) -> Mapping[str, Callable[[], "Figure"]]:
    """Changes of the loss, a panel a scope."""
    scopes = [scope for scope in dict.fromkeys(study.results["scope"]) if scope not in ("", stream_report.SCOPE)]
    starts = range(0, len(scopes), PER_FIGURE)
    figures: dict[str, Callable[[], Figure]] = {
        f"ablation_{i // PER_FIGURE + 1}" if i else "ablation": partial(draw, study, scopes[i : i + PER_FIGURE])
        for i in starts
    }
    stream = zip(stream_report.MEASURES, stream_report.charts(study), strict=False)  # none where nothing was taken
    return figures | {f"stream_{measure}": partial(chart_figure.draw, chart) for measure, chart in stream}


REPORTED = register(Reported(LAYOUT, open_ablation, view_of, figures_of))
