"""Spectra and p-values of one model before and after fine-tuning: what moved, by rank."""

from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import NULL, known_mean
from eigensweep.engine.spectral import deciles
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.columns import COUNT, FLOAT, Column
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.groups import Group, group_of
from eigensweep.engine.tables.matrices import MATRICES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPECTRAL_CHANGE = {
    **{key: MATRICES[key] for key in ("name", "role", "tower", "block")},
    "decile": Column(COUNT, "", "tenth of the singular values by rank (spectral.deciles), 1 the largest"),
    "change": Column(FLOAT, "", "mean of (s' - s) / s over the decile, s' after fine-tuning"),
    "distance": Column(FLOAT, "", "mean of |s' - s| / s over the decile"),
    "p_right": Column(FLOAT, "", "mean of p_right over the decile, before"),
    "p_right_after": Column(FLOAT, "", "the same after"),
    "p_left": Column(FLOAT, "", "mean of p_left over the decile, before"),
    "p_left_after": Column(FLOAT, "", "the same after"),
    "outliers_before": Column(COUNT, "", "num_right_outliers of the whole matrix, before"),
    "outliers_after": Column(COUNT, "", "the same after"),
}
SIDES = ("right", "left")
_POINTS = 200


def drift(before: Run, after: Run) -> "pd.DataFrame":
    """A row a matrix and decile of its singular values, for the matrices in both runs whose status is ok.

    Columns: `SPECTRAL_CHANGE`.

    Raises:
      RunError: the runs share no matrix.
    """
    import pandas as pd

    rows = [row for pair in _pairs(before, after) for row in _rows(*pair)]
    if not rows:
        raise RunError(f"{before.directory}, {after.directory}: the runs have no matrix in common")
    return pd.DataFrame(rows)


def _pairs(before: Run, after: Run) -> list[tuple[dict, dict]]:
    """Of every shared matrix its scalars and lists, before and after."""
    tables = []
    for run in (before, after):
        matrices, spectra = (table.set_index("name").to_dict("index") for table in (run.matrices, run.spectra))
        tables.append({n: row | spectra[n] | {"name": n} for n, row in matrices.items() if row["status"] == "ok"})
    first, second = tables
    return [(row, second[name]) for name, row in first.items() if name in second]


def _rows(before: dict, after: dict) -> list[dict]:
    s, t = (np.asarray(row["singular_values"]) for row in (before, after))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(s > 0, (t - s) / s, np.nan)
    rows = []
    for decile, k in enumerate(deciles.deciles(s.size), 1):
        if k.size:
            row = {"name": before["name"], "role": before["role"], "tower": group_of(before).tower}
            row["block"] = before["block"]
            row |= {"decile": decile, "change": known_mean(relative[k]), "distance": known_mean(np.abs(relative[k]))}
            for side in SIDES:
                row[f"p_{side}"] = known_mean(np.asarray(before[f"p_{side}"])[k])
                row[f"p_{side}_after"] = known_mean(np.asarray(after[f"p_{side}"])[k])
            row["outliers_before"], row["outliers_after"] = (_count(r["num_right_outliers"]) for r in (before, after))
            rows.append(row)
    return rows


def _count(value: float | None) -> int | None:
    """A count out of pandas, which turns null into NaN."""
    return None if value is None or np.isnan(value) else int(value)


def title(table: "pd.DataFrame") -> tuple[str, str]:
    """How far the smallest and the largest values moved, in which role most."""
    last = table["decile"].max()
    groups = table.apply(lambda row: group_of(row).label, axis=1)
    small, large = (table["distance"][table["decile"] == d].groupby(groups).mean() for d in (last, 1))
    role = small.idxmax()
    matrices = table["name"].nunique()
    return (
        f"{role}: the smallest tenth of its singular values moved by {style.percent(small[role])}, "
        f"the largest by {style.percent(large[role])}",
        f"{matrices} matrices; bold: median of the changes, mean of the p-values; averaged over 15 neighbours",
    )


def draw(before: Run, after: Run) -> "Figure":
    """A column a role: how far the singular values moved above, averaged p-values of the right vectors below."""
    groups: dict[Group, list[tuple[dict, dict]]] = {}
    for pair in _pairs(before, after):
        groups.setdefault(group_of(pair[0]), []).append(pair)
    figure = style.new_figure(height=3.6)
    style.headline(figure, *title(drift(before, after)))
    panels = figure.subplots(2, len(groups), sharex=True, sharey="row", squeeze=False)
    figure.subplots_adjust(left=0.09, right=0.985, top=0.83, bottom=0.17, wspace=0.12, hspace=0.1)
    moved: list[np.ndarray] = []
    for column, (group, pairs) in enumerate(sorted(groups.items(), key=lambda item: item[0].order)):
        panels[0][column].set_title(style.shorten(group.label, 14), pad=3)
        moved += _changes(panels[0][column], pairs)
        _p_values(panels[1][column], pairs)
    positive = 100 * np.concatenate(moved)
    positive = positive[positive > 0]  # NaN and unmoved values are not drawn
    if positive.size:
        style.log_axis(panels[0][0], "y", positive.min() / 1.5, positive.max() * 1.5)
    panels[0][0].set_ylabel("|s′ − s| / s, %")
    panels[1][0].set_ylabel("p-value (right v)")
    panels[1][0].set_ylim(0, 1)
    figure.align_ylabels(panels[:, 0])
    figure.supxlabel("rank / number of singular values", fontsize=8, y=0.055)
    handles, names = panels[1][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower right", ncols=2, bbox_to_anchor=(0.99, -0.01))
    return figure


def _changes(axes: "Axes", pairs: list[tuple[dict, dict]]) -> list[np.ndarray]:
    curves = []
    for one, other in pairs:
        s, t = (np.asarray(row["singular_values"]) for row in (one, other))
        keep = s > NULL * s[0]
        moved = np.abs(t - s)[keep] / s[keep]
        curves.append(_by_share(_smooth(moved), s.size))
        axes.plot(_grid(), 100 * curves[-1], color=style.TRAINED, lw=0.4, alpha=0.5)
    axes.plot(_grid(), 100 * np.median(curves, axis=0), color=style.TRAINED, lw=1.3)
    return curves


def _p_values(axes: "Axes", pairs: list[tuple[dict, dict]]) -> None:
    for which, (label, color) in enumerate((("before", style.CONTROL), ("after", style.TRAINED))):
        curves = []
        for pair in pairs:
            p = np.asarray(pair[which]["p_right_avg"])
            curves.append(_by_share(p[np.isfinite(p)], p.size))
        axes.plot(_grid(), np.mean(curves, axis=0), color=color, lw=1.1, label=label)


def _grid() -> np.ndarray:
    return np.linspace(0, 1, _POINTS)


def _smooth(values: np.ndarray, width: int = 15) -> np.ndarray:
    """Means over `width` neighbours, fewer at the ends."""
    ones = np.ones(min(width, values.size))
    return np.convolve(values, ones, "same") / np.convolve(np.ones(values.size), ones, "same")


def _by_share(values: np.ndarray, size: int) -> np.ndarray:
    """Values by index, read at shares of the full number."""
    if not values.size:
        return np.full(_POINTS, np.nan)
    return np.interp(_grid(), (np.arange(values.size) + 0.5) / size, values)
