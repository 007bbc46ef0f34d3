"""What the page draws of a removal study: changes of loss and accuracy by decile, outliers and controls beside them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.charts import Axis, Band, Chart, Panel, Rule, Series
from eigensweep.engine.studies.ablation.covariance import SCOPE
from eigensweep.engine.studies.ablation.figures import title
from eigensweep.engine.studies.ablation.study import Ablation

SIDES = {"right": 12.0, "left": 13.6}  # where outliers and their controls stand, beside the ten deciles
TICKS = [*((float(k), str(k)) for k in range(1, 11)), (SIDES["right"], "> ν+"), (SIDES["left"], "< ν−")]
KINDS = {  # name, colour, place beside the others
    "outliers": ("outliers", "law", -0.4),
    "bulk": ("as many from the bulk", "c2", 0.0),
    "random": ("as many random directions", "control", 0.4),
}
MEASURES = {
    "loss": ("change", "change_low", "change_high"),
    "accuracy": ("accuracy_change", "accuracy_low", "accuracy_high"),
}
_READING = (
    "Change when a tenth of the singular values is taken out, by decile (1 holds the largest); to the right the "
    "outliers beyond either edge, with as many values of the bulk and as many random directions. Bars: bootstrap "
    "intervals over rows; of several draws their mean and the range of their intervals. Grey band: a tenth in random "
    "directions."
)


def charts(study: Ablation) -> list[Chart]:
    """Changes of the loss, then of the accuracy; a panel a scope."""
    seen, note = title(study)
    rows = study.results[study.results["scope"] != SCOPE].to_dict("records")  # the stream has charts of its own
    scopes = [scope for scope in dict.fromkeys(row["scope"] for row in rows) if scope]
    if not scopes:
        return []
    losses = changes_axis("change of the loss (nats)", [row["change"] for row in rows])
    found = []
    for measure, names in MEASURES.items():
        panels = [_panel(scope, [row for row in rows if row["scope"] == scope], names) for scope in scopes]
        axis = losses if measure == "loss" else Axis("change of the accuracy")
        said = seen if measure == "loss" else _accuracy_lost(rows)
        x = Axis("decile removed, or outliers", ticks=TICKS, limits=(0.4, 14.4))
        found.append(Chart(f"Change of the {measure}", said, note, _READING, x, axis, panels))
    return found


def _accuracy_lost(rows: Sequence[Mapping[str, Any]]) -> str:
    """The removal that costs most."""
    row = min((row for row in rows if row["removed"]), key=lambda row: row["accuracy_change"], default=None)
    if row is None:
        return "change of the accuracy when singular values are taken out"
    return f"most accuracy is lost without {row['removal']} of {row['scope']}: {row['accuracy_change']:+.3f}"


def _panel(scope: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Panel:
    drawn = [row for row in rows if all(math.isfinite(row[name]) for name in names)]
    deciles = [row for row in drawn if row["kind"] == "decile"]
    place = [float(row["removal"].split(":")[1]) for row in deciles]
    change, low, high = ([row[name] for row in deciles] for name in names)
    series = [Series("a tenth of the values", place, change, low, high, "line+points", "raw")] if deciles else []
    series += [s for kind in KINDS if (s := _beside(kind, drawn, names))]
    random = [row[names[0]] for row in drawn if row["removal"].startswith("random:decile")]
    bands = [Band("a tenth in random directions", [0.5, 10.5], [min(random)] * 2, [max(random)] * 2)] if random else []
    counts = [next((r["removed"] for r in rows if r["removal"] == f"outliers:{side}"), None) for side in SIDES]
    said = [f"{count} {side} outliers" for side, count in zip(SIDES, counts, strict=True) if count is not None]
    lost = [row["removal"] for row in rows if row not in drawn]
    said += [f"not finite without {', '.join(lost)}"] if lost else []
    matrices = max(row["matrices"] for row in rows)
    said = [f"{matrices} matrices" if matrices > 1 else "1 matrix", *said]
    return Panel(scope, series, bands, [Rule("", "y", 0.0, dashed=False)], "; ".join(said))


def _beside(kind: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Series | None:
    """Outliers or one of their controls, on both sides: of several draws the mean, and the range of their intervals."""
    label, color, shift = KINDS[kind]
    x, y, low, high = [], [], [], []
    for side, place in SIDES.items():
        found = [r for r in rows if r["kind"] == kind and r["removal"].split(":")[1] == side and r["removed"]]
        if found:
            x.append(place + shift)
            y.append(float(np.mean([r[names[0]] for r in found])))
            low.append(min(r[names[1]] for r in found))
            high.append(max(r[names[2]] for r in found))
    return Series(label, x, y, low, high, "points", color) if x else None


def changes_axis(label: str, values: Sequence[float]) -> Axis:
    """Linear up to the decade of the smaller changes, logarithmic beyond."""
    changes = np.abs(values)
    changes = changes[np.isfinite(changes) & (changes > 0)]
    threshold = 10.0 ** math.floor(math.log10(np.quantile(changes, 0.25))) if changes.size else 1e-3
    return Axis(label, "symlog", threshold)
