"""What the page draws of a removal study: changes of loss and accuracy by decile, outliers and controls beside them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.charts import Axis, Band, Chart, Panel, Rule, Series
from eigensweep.engine.spectral.removal import parse
from eigensweep.engine.studies.ablation import matched_summary
from eigensweep.engine.studies.ablation.covariance import SCOPE
from eigensweep.engine.studies.ablation.figures import DECILES, SIDES, title
from eigensweep.engine.studies.ablation.study import Ablation

TICKS = [*((float(k), str(k)) for k in range(1, 11)), (SIDES["right"], "> ν+"), (SIDES["left"], "< ν−")]
KINDS = {  # name, colour, place beside the others
    "outliers": ("outliers", "law", -0.4),
    "energy": ("as much |W|² from the bulk", "c4", -0.2),
    "bulk": ("as many from the bulk", "c2", 0.0),
    "output": ("as much output change, random", "c3", 0.2),
    "random": ("as many random directions", "control", 0.4),
}
MEASURES = {
    "loss": ("change", "change_low", "change_high"),
    "accuracy": ("accuracy_change", "accuracy_low", "accuracy_high"),
}
_READING = (
    "Change when a tenth of the singular values is taken out, by decile (1 holds the largest); to the right the "
    "outliers beyond either edge, with as many values of the bulk and as many random directions. Controls that change "
    "as much of |W|² or of the outputs stand beside what they match. Bars: bootstrap intervals over rows; of several "
    "draws their mean and the range of their intervals. Grey band: a tenth in random directions."
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
    tenths = {"decile": ("a tenth of the values", "raw"), "equalised": ("a tenth of the equalised matrix", "equalised")}
    series = [s for kind, named in tenths.items() if (s := _tenths(kind, named, drawn, names))]
    series += [s for kind in KINDS if (s := _beside(kind, drawn, names))]
    random = [row[names[0]] for row in drawn if row["removal"].startswith("random:decile")]
    bands = [Band("a tenth in random directions", [0.5, 10.5], [min(random)] * 2, [max(random)] * 2)] if random else []
    counts = [next((r["removed"] for r in rows if r["removal"] == f"outliers:{side}"), None) for side in SIDES]
    said = [f"{count} {side} outliers" for side, count in zip(SIDES, counts, strict=True) if count is not None]
    lost = [row["removal"] for row in rows if row not in drawn]
    said += [f"not finite without {', '.join(lost)}"] if lost else []
    said += matched_summary.without_match(rows)
    matrices = max(row["matrices"] for row in rows)
    said = [f"{matrices} matrices" if matrices > 1 else "1 matrix", *said]
    return Panel(scope, series, bands, [Rule("", "y", 0.0, dashed=False)], "; ".join(said))


def _tenths(
    kind: str, named: tuple[str, str], rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Series | None:
    """The ten removals of a kind, as far as they are there."""
    found = [row for row in rows if row["kind"] == kind]
    place = [float(row["removal"].split(":")[1]) for row in found]
    change, low, high = ([row[name] for row in found] for name in names)
    return Series(named[0], place, change, low, high, "line+points", named[1]) if found else None


def _beside(kind: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Series | None:
    """Outliers or controls of one kind: of several draws the mean, and the range of their intervals."""
    label, color, shift = KINDS[kind]
    x, y, low, high = [], [], [], []
    for which, place in (SIDES | DECILES).items():
        found = [r for r in rows if r["kind"] == kind and r["removed"] and parse(r["removal"]).which == which]
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
