"""Several runs beside each other: checkpoints over training, or models."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.document import Picture, definitions, document, esc, picture, table, text_table
from eigensweep.engine.report.spectrum import control_name, grouped, outliers_column, scalar, shown_control
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.files import write_bytes
from eigensweep.engine.tables.groups import group_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OTHERS = {
    "stable_rank": "stable rank, median",
    "alpha": "power-law exponent α, median",
    "mean_p_right": "mean p-value, right vectors",
    "mean_p_left": "mean p-value, left vectors",
}
_READING = "One line a role, runs from left to right; sums or medians over the matrices whose status is ok."


def measures(runs: Sequence[Run]) -> dict[str, str]:
    """The columns compared, and their names; outliers beyond random signs where every run has them."""
    outliers = {}
    for side in ("right", "left"):
        columns = {outliers_column(run, side) for run in runs}
        column, name = columns.pop() if len(columns) == 1 else (f"num_{side}_outliers", f"{side} outliers")
        outliers[column] = f"{name}, sum"
    return outliers | _OTHERS


def labels_of(runs: Sequence[Run]) -> list[str]:
    """A name a run: its directory's, with as many parents as tell them apart."""
    paths = [
        Path(run.directory if run.directory is not None else run.manifest["checkpoint"].get("source", "run")).resolve()
        for run in runs
    ]
    for depth in range(1, max(len(p.parts) for p in paths) + 1):
        labels = ["/".join(p.parts[-depth:]) for p in paths]
        if len(set(labels)) == len(paths):
            return labels
    return [f"{label} ({i})" for i, label in enumerate(labels, 1)]


def series(runs: Sequence[Run], measure: str) -> dict[str, np.ndarray]:
    """`measure` by role over the runs: the sum of counts, else the median; NaN where a run has no such role."""
    combine = np.sum if measure.startswith("num_") else np.median
    result: dict[str, np.ndarray] = {}
    orders: dict[str, tuple[Any, ...]] = {}
    for i, run in enumerate(runs):
        for label, rows in grouped(run.matrices.to_dict("records")).items():
            orders[label] = group_of(rows[0]).order
            known = [x for row in rows if row["status"] == "ok" and np.isfinite(x := scalar(row, measure))]
            if known:
                result.setdefault(label, np.full(len(runs), np.nan))[i] = combine(known)
    return dict(sorted(result.items(), key=lambda item: orders[item[0]]))


def title(runs: Sequence[Run], labels: Sequence[str]) -> tuple[str, str]:
    """Where the number of right outliers changes most from the first run to the last."""
    measure, name = next(iter(measures(runs).items()))
    name = name.removesuffix(", sum")
    outliers = {r: v for r, v in series(runs, measure).items() if np.isfinite(v[[0, -1]]).all()}
    note = f"{len(runs)} runs; sums or medians over the matrices of a role"
    if not outliers:
        return "no role is in both the first and the last run", note
    role = max(outliers, key=lambda r: abs(outliers[r][-1] - outliers[r][0]))
    first, last = outliers[role][0], outliers[role][-1]
    if first == last:
        return f"no role gains or loses {name} from {labels[0]} to {labels[-1]}", note
    return f"{role}: {first:g} {name} in {labels[0]}, {last:g} in {labels[-1]}", note


def draw(runs: Sequence[Run], labels: Sequence[str]) -> "Figure":
    """A panel a measure, a line a role, runs from left to right."""
    figure = style.new_figure(height=4.6)
    style.headline(figure, *title(runs, labels))
    panels = figure.subplots(2, 3, sharex=True).ravel()
    figure.subplots_adjust(left=0.07, right=0.985, top=0.86, bottom=0.24, wspace=0.22, hspace=0.25)
    places = np.arange(len(runs))
    for axes, (measure, heading) in zip(panels, measures(runs).items(), strict=True):
        for i, (role, values) in enumerate(series(runs, measure).items()):
            turn, kind = divmod(i, len(style.CYCLE))
            line = {"color": style.CYCLE[kind], "marker": style.MARKERS[kind], "ls": "--" if turn else "-"}
            axes.plot(places, values, ms=3, label=style.shorten(role, 24), **line)
        axes.set_title(heading, pad=3)
        axes.margins(0.06, 0.1)
        axes.set_ylim(0, None)
    every = max(1, -(-len(runs) // 8))
    for axes in panels[3:]:
        axes.set_xticks(places[::every], [style.shorten(x, 14) for x in labels[::every]], rotation=35, ha="right")
    handles, names = max((axes.get_legend_handles_labels() for axes in panels), key=lambda pair: len(pair[1]))
    figure.legend(handles, names, loc="lower center", ncols=5, fontsize=7)
    return figure


def write_comparison(runs: Sequence[Run], directory: str | Path) -> Path:
    """Write `directory`/comparison.html and its figure (figures/comparison.png and .pdf).

    Args:
      runs: at least two runs, in the order in which to show them.
      directory: where to write; created where it is missing.

    Returns:
      The path of comparison.html.

    Raises:
      ValueError: if there are fewer than two runs.
      RunError: if `directory` cannot be written.
    """
    if len(runs) < 2:
        raise ValueError(f"a comparison takes at least two runs, not {len(runs)}")
    directory = Path(directory)
    labels = labels_of(runs)
    with style.context():
        png = style.save(draw(runs, labels), directory / "figures" / "comparison")
    sources = {
        label: run.manifest.get("checkpoint", {}).get("source", "–") for label, run in zip(labels, runs, strict=True)
    }
    body = "\n".join(
        (
            f"<header><h1>{len(runs)} runs compared</h1>{definitions(sources)}</header><main>",
            picture(Picture(png, *title(runs, labels), _READING)),
            _by_role(runs, labels),
            _by_matrix(runs, labels),
            "</main>",
        )
    )
    target = directory / "comparison.html"
    write_bytes(target, document(f"{len(runs)} runs compared", body).encode("utf-8", "replace"))
    return target


def _by_role(runs: Sequence[Run], labels: Sequence[str]) -> str:
    parts, headings = ["<h2>Roles</h2>"], ["role", *(style.shorten(x, 40) for x in labels)]
    for measure, heading in measures(runs).items():
        rows = [[style.shorten(role, 40), *map(style.number, x)] for role, x in series(runs, measure).items()]
        parts.append(f"<h3>{esc(heading)}</h3>{text_table(headings, rows)}")
    return "\n".join(parts)


def _by_matrix(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """Outliers of every matrix in every run, right and left."""
    cells: dict[str, dict[int, dict[str, Any]]] = {}
    controls = [shown_control(run) for run in runs]
    for i, run in enumerate(runs):
        for row in run.matrices.to_dict("records"):
            cells.setdefault(str(row["name"]), {})[i] = row
    rows = []
    for name, found in cells.items():
        counts = [_counts(found[i], controls[i]) if i in found else "–" for i in range(len(runs))]
        rows.append([esc(style.shorten(name, 120)), *counts])
    kinds = [f" ({control_name(prefix)})" if prefix else "" for prefix in controls]
    headings = ["matrix", *(esc(style.shorten(x, 40)) + kind for x, kind in zip(labels, kinds, strict=True))]
    return (
        '<h2>Matrices</h2><p class="note">Right and left outliers; in brackets those of the random control that the '
        "heading names.</p>" + table(headings, rows)
    )


def _counts(row: dict[str, Any], control: str) -> str:
    if row["status"] != "ok":
        return f'<span class="bad">{esc(style.shorten(row["status"], 60))}</span>'
    texts = []
    for prefix in ("", control):
        right, left = (scalar(row, f"{prefix}num_{side}_outliers") for side in ("right", "left"))
        texts.append(f"{style.number(right)}, {style.number(left)}")
    return texts[0] + (f" ({texts[1]})" if control else "")
