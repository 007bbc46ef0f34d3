"""A measure of many models over what is known of them from elsewhere: sizes, dates, scores; with rank correlations.

WeightWatcher's users hold the mean alpha of a model against its accuracy so. With a few dozen models an interval is
wide, and the correlation with size alone is often as strong as that with the score: both are given.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.spectral.rank_correlation import kendall, spearman
from eigensweep.engine.studies.compare.stack import tails
from eigensweep.engine.studies.fleet.runs import open_runs
from eigensweep.engine.studies.fleet.scores import SIZE, read_scores
from eigensweep.engine.tables.columns import COUNT, FLOAT, TEXT, Column, to_table
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CORRELATIONS: dict[str, Column] = {
    "measure": Column(TEXT, "", "column of matrices.parquet"),
    "score": Column(TEXT, "", "column of the scores, or `parameters`: entries of the swept matrices"),
    "models": Column(COUNT, "", "models that have both"),
    **{
        f"{name}{end}": Column(FLOAT, "", f"{what}{said}")
        for name, what in (("spearman", "Spearman's rho"), ("kendall", "Kendall's tau-b"))
        for end, said in (("", ""), ("_low", ", lower end of the 95 % interval"), ("_high", ", upper end"),
                          ("_p", ", two-sided p-value by permutations"))
    },
}  # fmt: skip
_MOST_NAMED = 40  # models that have their names in a panel


@dataclass(frozen=True)
class Scatter:
    """Every model's measures and scores.

    Attributes:
      models: names, as short as tells them apart.
      measures, scores: column -> a value a model, NaN where it has none.
      dates: the scores that are dates, as days since 1970.
      notes: what the user should know.
    """

    models: list[str]
    measures: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    dates: frozenset[str]
    notes: list[str]

    def correlations(self, seed: int = 0) -> list[dict[str, Any]]:
        """The rows of CORRELATIONS: every measure against every score."""
        rows = []
        for measure, y in self.measures.items():
            for score, x in self.scores.items():
                rho, tau = spearman(x, y, seed), kendall(x, y, seed)
                row: dict[str, Any] = {"measure": measure, "score": score, "models": rho.num}
                for name, found in (("spearman", rho), ("kendall", tau)):
                    row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
                    row |= {f"{name}_p": found.p}
                rows.append(row)
        return rows


def scatter(
    directories: Mapping[str, Path], measures: Sequence[str], scores: str | Path | None = None, average: str = "median"
) -> Scatter:
    """Average every measure over the matrices of each model, and find the models' scores.

    Args:
      directories: run directories of finished sweeps, by the checkpoint's name.
      measures: columns of `matrices`.
      scores: CSV file with a heading. Its first column names a model: as the checkpoint was named, by the last part of
        that, or by the run directory. Other columns are numbers, or dates as 2024-05-31; empty cells are unknown.
      average: "median" or "mean", over the matrices whose status is ok.

    Raises:
      RunError: no models, an unknown measure, or a file that does not serve; names line and column.
    """
    if not directories:
        raise RunError("no model has a finished sweep yet: nothing to draw")
    columns = [*dict.fromkeys(measures), "m", "n", "status"]
    frame = open_runs(list(directories.values()), list(dict.fromkeys(columns)))
    for measure in measures:
        if not np.issubdtype(_numbers(frame, measure).dtype, np.floating):
            raise RunError(f"--scatter={measure}: is no column of numbers")
    runs = [part for _, part in frame.groupby("run", sort=False)]
    found = {m: np.array([_average(part, m, average) for part in runs]) for m in dict.fromkeys(measures)}
    size = np.array([float((part["m"].astype(float) * part["n"].astype(float)).sum()) for part in runs])
    read, dates, notes = ({}, frozenset[str](), []) if scores is None else read_scores(scores, directories)
    return Scatter(tails([*directories]), found, {SIZE: size, **read}, dates, notes)


def write_scatter(found: Scatter, workdir: Path) -> list[dict[str, Any]]:
    """Write scatter.parquet, correlations.parquet and a figure a measure; gives the correlations."""
    models = {"model": Column(TEXT, "", "the model's name, as short as tells it from the others")}
    names = {**found.measures, **found.scores}
    columns = models | {name: Column(FLOAT, "", "") for name in names}
    rows = [
        {"model": model} | {name: float(values[i]) for name, values in names.items()}
        for i, model in enumerate(found.models)
    ]
    correlations = found.correlations()
    write_table(workdir / "scatter.parquet", to_table(columns, rows))
    write_table(workdir / "correlations.parquet", to_table(CORRELATIONS, correlations))
    with style.context():
        for measure in found.measures:
            style.save(draw(found, measure, correlations), workdir / "figures" / f"scatter_{style.slug(measure)}")
    return correlations


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """The correlations as a table for a terminal; correlations.parquet has Kendall's p-values as well."""
    lines = [["measure", "score", "models", "Spearman", "95 %", "p", "Kendall", "95 %"]]
    for row in rows:
        line = [style.shorten(str(row["measure"]), 16), style.shorten(str(row["score"]), 15), str(row["models"])]
        for name in ("spearman", "kendall"):
            ends = ", ".join(_short(row[f"{name}_{end}"]) for end in ("low", "high"))
            line += [style.number(row[name]), f"({ends})", style.number(row[f"{name}_p"])]
        lines.append(line[:-1])
    return style.aligned(lines, left=2)


def _short(x: float) -> str:
    return f"{x:.2g}" if math.isfinite(x) else "–"


def draw(found: Scatter, measure: str, correlations: Sequence[Mapping[str, Any]]) -> "Figure":
    """A measure over every score, a panel each; a point a model, with its name."""
    panels = list(found.scores)
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    height = 0.65 + 2.5 * lines
    figure = style.new_figure(height=height)
    of = {row["score"]: row for row in correlations if row["measure"] == measure}
    style.headline(figure, *title(found, measure, list(of.values())))
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    bottom, top = 0.42 / height, 1 - 0.72 / height
    figure.subplots_adjust(left=0.085, right=0.98, top=top, bottom=bottom, wspace=0.28, hspace=0.45)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, score in zip(grid, panels, strict=False):
        _panel(axes, found, measure, score)
        row = of[score]
        axes.set_title(f"ρ = {style.number(row['spearman'])}, τ = {style.number(row['kendall'])}", pad=3, fontsize=7)
    return figure


def title(found: Scatter, measure: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The strongest correlation of a measure, with its interval."""
    known = [row for row in rows if math.isfinite(row["spearman"])]
    note = f"{len(found.models)} models; {measure} averaged over the matrices of each"
    if not known:
        return f"{measure}: too few models for a rank correlation", note
    row = max(known, key=lambda row: abs(row["spearman"]))
    ends = f"{style.number(row['spearman_low'])} to {style.number(row['spearman_high'])}"
    return f"{measure} and {row['score']}: Spearman's ρ = {style.number(row['spearman'])} (95 %: {ends})", note


def _panel(axes: "Axes", found: Scatter, measure: str, score: str) -> None:
    x, y = found.scores[score], found.measures[measure]
    known = np.isfinite(x) & np.isfinite(y)
    dates = x[known].astype("datetime64[D]") if score in found.dates else x[known]
    axes.plot(dates, y[known], "o", ms=3, color=style.TRAINED)
    if score == SIZE and known.any():
        style.log_axis(axes, "x", x[known].min() / 1.5, x[known].max() * 2.5)
    axes.margins(0.15, 0.12)
    if known.sum() <= _MOST_NAMED:
        _name(axes, np.array(found.models)[known], dates, y[known])
    axes.set_xlabel(style.shorten(score, 30), labelpad=1)
    axes.set_ylabel(style.shorten(measure, 30), labelpad=1)
    if score in found.dates:
        axes.tick_params(axis="x", labelrotation=30)


def _name(axes: "Axes", models: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """The models' names beside their points, on the side that has room."""
    axes.autoscale_view()  # matplotlib puts it off, and the limits are needed now
    to_axes = axes.transData + axes.transAxes.inverted()
    for model, at, value in zip(models, x, y, strict=True):
        left = to_axes.transform((axes.convert_xunits(at), value))[0] > 0.6
        align, shift = ("right", -2) if left else ("left", 2)
        words = style.shorten(str(model), 22)
        axes.annotate(words, (at, value), (shift, 2), textcoords="offset points", fontsize=5, ha=align)


def _numbers(frame: Any, column: str) -> np.ndarray:
    try:
        return frame[column].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        return np.empty(0, object)


def _average(part: Any, column: str, average: str) -> float:
    values = _numbers(part[part["status"] == "ok"], column)
    known = values[np.isfinite(values)]
    return float(np.median(known) if average == "median" else np.mean(known)) if known.size else math.nan
