"""What the page draws of a fine-tuning study: curves of training, changes by decile and order, what moved."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule, Series
from eigensweep.engine.studies.finetune import drift
from eigensweep.engine.studies.finetune.effects import MEASURES, Finetuning, effects
from eigensweep.engine.studies.finetune.figures import PANELS, UNITS, title, title_of_curves
from eigensweep.engine.tables.groups import ROLES

if TYPE_CHECKING:
    import pandas as pd

    from eigensweep.engine.studies.sweep.study import Run

COLORS = 7  # of the style sheet: c0 to c6
_DECILE = Axis(
    "decile: 1 largest, 10 smallest values", ticks=[(float(k), str(k)) for k in range(1, 11)], limits=(0.4, 10.6)
)
_CURVES = "Loss over steps of every training, all seeds of one kind in one colour; points: validation rows."
_ORDER = (
    "Change of the held-out loss or accuracy against the model of the same seed with nothing removed, by decile. "
    "Bars: 95 % bootstrap intervals over rows; small dots: seeds."
)
_MOVED = "Mean of |s′ − s| / s over a decile of the singular values: median over matrices, bars from least to most."
_P_VALUES = "Mean p-values of the singular vectors over a decile, averaged over matrices, before and after."


def charts(run: Finetuning, sweeps: "tuple[Run, Run] | None" = None) -> list[Chart]:
    """Curves; changes where deciles were removed; drift where the spectra before and after are there."""
    found = [_curves(run)]
    if run.deciles():
        found += [_order(run, measure) for measure in MEASURES]
    return found + (_drift(drift.drift(*sweeps)) if sweeps else [])


def _curves(run: Finetuning) -> Chart:
    series = []
    for i, ((order, scope, decile), part) in enumerate(run.history.groupby(["order", "scope", "decile"], sort=False)):
        name = "nothing removed" if order == "none" else f"without decile {decile}, {scope}"
        columns: dict[str, list[float]] = {"step": [], "train_loss": [], "validation_loss": []}
        for _, one in part.groupby("seed"):
            for column, values in columns.items():
                values += [*one[column].astype(float), np.nan]  # a gap between seeds
        color = f"c{i % COLORS}"
        series.append(Series("", columns["step"], columns["train_loss"], color=color))
        series.append(Series(name, columns["step"], columns["validation_loss"], marks="line+points", color=color))
    majority = Rule("shares of the labels, held out", "y", run.manifest["majority"]["loss"], "law")
    panels = [Panel("", series, rules=[majority])]
    return Chart("Training", *title_of_curves(run), _CURVES, Axis("steps"), Axis("cross-entropy, nats"), panels)


def _order(run: Finetuning, measure: str) -> Chart:
    rows = effects(run, measure)
    panels = []
    for order in run.orders():
        series = []
        for i, scope in enumerate(run.scopes()):
            mine = sorted((r for r in rows if (r["order"], r["scope"]) == (order, scope)), key=lambda r: r["decile"])
            series += _scope(scope, mine, f"c{i % COLORS}", 0.5 * ((i + 0.5) / len(run.scopes()) - 0.5))
        panels.append(Panel(PANELS[order], series, rules=[Rule("", "y", 0.0, dashed=False)]))
    unit = "nats" if measure == "loss" else "in accuracy"
    seen, note = title(rows, len(set(run.members["seed"])), unit)
    heading = f"Change of the {measure} by decile removed"
    return Chart(heading, seen, note, _ORDER, _DECILE, Axis(UNITS[measure]), panels)


def _scope(scope: str, rows: list[dict[str, Any]], color: str, shift: float) -> list[Series]:
    """A scope's changes with their intervals, and the seeds' beside them."""
    x = [row["decile"] + shift for row in rows]
    change, low, high = ([row[key] for row in rows] for key in ("change", "low", "high"))
    seeds = [(place + 0.13, y) for place, row in zip(x, rows, strict=True) for y in row["seeds"]]
    single = Series("", [p for p, _ in seeds], [y for _, y in seeds], marks="dots", color=color)
    return [Series(scope, x, change, low, high, "line+points", color), single]


def _drift(table: "pd.DataFrame") -> list[Chart]:
    seen, note = drift.title(table)
    roles = sorted(set(table["role"]), key=lambda role: (role not in ROLES, role in ROLES and ROLES.index(role), role))
    of = {role: table[table["role"] == role].groupby("decile") for role in roles}
    moved, p_values = [], []
    for role, deciles in of.items():
        distance = 100 * deciles["distance"].agg(["median", "min", "max"])
        x, count = distance.index.to_numpy(float), int(deciles.size().max())
        said = f"{count} matrices" if count > 1 else "1 matrix"
        median, low, high = (distance[name].to_numpy(float) for name in ("median", "min", "max"))
        moved.append(Panel(role, [Series("median over matrices", x, median, low, high, "line+points")], note=said))
        mean = deciles[[f"p_{side}{when}" for side in drift.SIDES for when in ("", "_after")]].mean()
        lines = [
            Series(f"{side}, {word}", x, mean[f"p_{side}{when}"].to_numpy(float), marks="line+points", color=color)
            for side, colors in (("right", ("control", "raw")), ("left", ("c4", "law")))
            for (when, word), color in zip((("", "before"), ("_after", "after")), colors, strict=True)
        ]
        p_values.append(Panel(role, lines, rules=[Rule("", "y", 0.5)], note=said))
    distance_axis, p_axis = Axis("|s′ − s| / s, %", "log"), Axis("p-value", limits=(0.0, 1.0))
    return [
        Chart("How far the singular values moved", seen, note, _MOVED, _DECILE, distance_axis, moved),
        Chart("p-values before and after", _shift(table), note, _P_VALUES, _DECILE, p_axis, p_values),
    ]


def _shift(table: "pd.DataFrame") -> str:
    """Where the mean p-value of a role's decile changed most."""
    mean = table.groupby(["role", "decile"])[
        [f"p_{side}{when}" for side in drift.SIDES for when in ("", "_after")]
    ].mean()
    moves = {side: (mean[f"p_{side}_after"] - mean[f"p_{side}"]).dropna() for side in drift.SIDES}
    known = {side: move for side, move in moves.items() if len(move)}
    if not known:
        return "no p-values before and after"
    side = max(known, key=lambda name: known[name].abs().max())
    role, decile = known[side].abs().idxmax()
    before, after = (mean.loc[(role, decile), f"p_{side}{when}"] for when in ("", "_after"))
    return f"{role}, decile {decile}: the mean p-value of the {side} vectors goes from {before:.2f} to {after:.2f}"
