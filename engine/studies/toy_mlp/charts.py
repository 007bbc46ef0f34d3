"""What the page draws of the study, and the figures for papers from the same charts."""

from collections.abc import Mapping, Sequence

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule, Series
from eigensweep.engine.spectral.student import mean_interval
from eigensweep.engine.studies.toy_mlp import means
from eigensweep.engine.studies.toy_mlp.means import Mean
from eigensweep.engine.studies.toy_mlp.study import ToyMlp
from eigensweep.engine.studies.toy_mlp.summary import BY

COLORS = 7  # of the style sheet: c0 to c6
_BARS = ", bars: Student's 95 % intervals over seeds"
_REMOVALS = (
    "Test accuracy when the smallest singular values of all studied layers are taken out at once; left by share of "
    "their number, right by share of their sum. Dashed: always answering with the commonest class."
)
_VALUES = "Singular values by rank, one panel for each layer; grey: the first weights."
_VECTORS = (
    "Mean p-value of the singular vectors by rank, averaged over neighbouring ranks: 1/2 where they are random "
    "directions, small where they are not; grey: the first weights."
)
_TRAINING = "Accuracy on the test rows after every epoch."
_BATCH = "One panel for each layer."
_OF_BATCH = {
    "batch_outliers": (
        "Right outliers",
        {
            "num_right_outliers": "noise of one scale",
            "equalised_num_right_outliers": "rows and columns of one scale",
            "num_right_outliers_beyond_signs": "random signs",
        },
    ),
    "batch_exponent": ("Power-law exponent alpha", {"alpha": ""}),
}


def charts(found: ToyMlp) -> Mapping[str, Chart]:
    """By the stem of their figures' files."""
    drawn = {"removals": _removals(found), "training": _training(found), "singular_values": _values(found)}
    drawn["vectors"] = _vectors(found)
    if len(set(found.networks["batch_size"])) > 1:
        drawn |= _batch_sizes(found)
    return drawn


def _color(i: int) -> str:
    return f"c{i % COLORS}"


def _by_regime(values: Mapping[str, float], text: str) -> str:
    """ "0.82 (alpha 1), 0.11 (alpha 15)": the first three; sparse weights have no tested vectors."""
    first = list(values.items())[:3]
    return ", ".join(
        f"{value:{text}} ({name})" if np.isfinite(value) else f"untested ({name})" for name, value in first
    )


def _line(name: str, x: Sequence[float] | np.ndarray, points: Sequence[Mean], color: str) -> Series:
    y, low, high = np.array(points).T
    known = not np.isnan(low).all()
    return Series(name, x, y, low if known else None, high if known else None, "line+points", color)


def _removals(found: ToyMlp) -> Chart:
    names = means.regimes(found)
    guess = Rule("the commonest answer", "y", float(found.manifest["majority"]["accuracy"]))
    panels = []
    for by, said in BY.items():
        lines = [(name, *means.curve(found, name, by)) for name in names]
        series = [_line(name, 100 * shares, points, _color(i)) for i, (name, shares, points) in enumerate(lines)]
        panels.append(Panel(said, series, rules=[guess]))
    most = max(float(found.removals["share"].max()), 0.0)
    last = {name: means.curve(found, name, "values")[1][-1].mean for name in names}
    seen = f"Test accuracy without {100 * most:g} % of the singular values: {_by_regime(last, '.2f')}"
    x, y = Axis("smallest singular values removed (%)"), Axis("test accuracy", limits=(0.0, 1.02))
    return Chart("Without the smallest singular values", seen, means.said(found, _BARS), _REMOVALS, x, y, panels)


def _training(found: ToyMlp) -> Chart:
    series = []
    for i, name in enumerate(means.regimes(found)):
        of = found.history[found.history["regime"] == name]
        table = of.pivot(index="seed", columns="step", values="test_accuracy").sort_index(axis=1)
        series.append(Series(name, table.columns.to_numpy(np.float64), table.mean().to_numpy(), color=_color(i)))
    ends = {name: means.over_seeds(found, name, "test_accuracy").mean for name in means.regimes(found)}
    x, y = Axis("step", "log"), Axis("test accuracy")
    seen = f"Test accuracy at the end: {_by_regime(ends, '.3f')}"
    return Chart("Training", seen, means.said(found), _TRAINING, x, y, [Panel("", series)])


def _groups(found: ToyMlp) -> list[tuple[str, str]]:
    """Regimes of the matrices with their colours, the first weights grey."""
    starts = dict.fromkeys(found.matrices.loc[found.matrices["at"] == "start", "regime"])
    trained = [(name, _color(i)) for i, name in enumerate(means.regimes(found))]
    return [*((name, "control") for name in starts), *trained]


def _layers(found: ToyMlp) -> list[int]:
    return sorted(int(layer) for layer in set(found.matrices["layer"]))


def _values(found: ToyMlp) -> Chart:
    panels = []
    for layer in _layers(found):
        lines = [(name, color, means.by_index(found, name, layer, "singular_values")) for name, color in _groups(found)]
        series = [Series(name, np.arange(1, y.size + 1), y, color=color) for name, color, y in lines]
        panels.append(Panel(f"layer {layer}", series))
    frame = found.matrices[found.matrices["at"] == "end"]
    counts = frame.groupby("regime", sort=False)["num_right_outliers_beyond_signs"].mean()
    seen = f"Values above what random signs reach, mean per matrix: {_by_regime(counts, '.3g')}"
    x, y = Axis("rank", "log"), Axis("singular value")
    return Chart("Singular values", seen, means.said(found), _VALUES, x, y, panels)


def _vectors(found: ToyMlp) -> Chart:
    panels = []
    for layer in _layers(found):
        for side in ("right", "left"):
            lines = [(n, color, means.by_index(found, n, layer, f"p_{side}_avg")) for n, color in _groups(found)]
            tested = [line for line in lines if np.isfinite(line[2]).any()]
            series = [Series(n, np.arange(1, y.size + 1), y, color=color) for n, color, y in tested]
            panels.append(Panel(f"layer {layer}, {side} vectors", series, rules=[Rule("random directions", "y", 0.5)]))
    frame = found.matrices[found.matrices["at"] == "end"]
    share = frame.groupby("regime", sort=False)["rejected_share_right"].mean()
    seen = f"Right singular vectors unlike random directions: {_by_regime(share, '.2%')}"
    x, y = Axis("rank"), Axis("p-value", limits=(0.0, 1.0))
    return Chart("Singular vectors", seen, means.said(found), _VECTORS, x, y, panels)


def _batch_sizes(found: ToyMlp) -> dict[str, Chart]:
    """Outliers and tails over the batch size, of the networks with the first alpha, frozen layers and init."""
    of = found.networks
    first = of.iloc[0]
    same = of[(of["scale"] == first["scale"]) & (of["frozen"] == first["frozen"]) & (of["init"] == first["init"])]
    rows = found.matrices.merge(same[["network", "batch_size"]], on="network")
    sizes = sorted(set(same["batch_size"]))
    x, span = Axis("batch size", "log"), f"batch sizes {sizes[0]} to {sizes[-1]}"
    note = means.said(found, _BARS)
    if len(of) > len(same):
        note += f"; of alpha {first['scale']:g}, {first['frozen']} frozen, {first['init']} alone"
    drawn = {}
    for stem, (label, columns) in _OF_BATCH.items():
        panels = []
        for layer in _layers(found):
            of_layer = rows[rows["layer"] == layer]
            series = []
            for i, (column, name) in enumerate(columns.items()):
                values = [of_layer.loc[of_layer["batch_size"] == size, column].dropna() for size in sizes]
                points = [Mean(*np.maximum(mean_interval(each.astype(float)), 0.0)) for each in values]
                series.append(_line(name, sizes, points, _color(i)))
            panels.append(Panel(f"layer {layer}", series))
        drawn[stem] = Chart(f"{label} over the batch size", f"{label}: {span}", note, _BATCH, x, Axis(label), panels)
    return drawn
