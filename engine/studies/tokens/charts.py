"""What the page draws of a tokens study: shares of coherent directions, and the spectra of circuits."""

import numpy as np
import pandas as pd

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule, Series
from eigensweep.engine.report.style import percent
from eigensweep.engine.studies.tokens.shares import level_of, shares
from eigensweep.engine.studies.tokens.study import Tokens
from eigensweep.engine.studies.tokens.testing import DIRECTION, NEURON

_SHARES = (
    "Share of the directions (both signs and sides) with p at most the level, with Wilson's 95 % intervals: of noise "
    "the level, dashed. Grey: Gaussian weights down the same path; green: the model's weights with random signs."
)
_SPECTRA = (
    "Singular values of the circuits of a kind over their first, a line a circuit, up to the numerical rank. c: "
    "indices over which s falls by a factor e; off: root mean square of ln s about that line, and of Gaussian weights."
)
MOST_LINES = 60  # circuits of a kind


def charts(found: Tokens) -> list[Chart]:
    """Shares where something was tested; spectra."""
    table, level, result = shares(found), level_of(found), []
    if not table.empty:
        x = Axis("index", "log")
        seen = share_title(table, level)
        panels = [_panel("directions of circuits", table, DIRECTION, "index", level)]
        result.append(Chart("Coherent directions by index", *seen, _SHARES, x, share_axis(table), panels))
        panels = [
            _panel(name, table, unit, "block", level)
            for unit, name in ((DIRECTION, "directions of circuits"), (NEURON, "single neurons"))
            if ((table["unit"] == unit) & (table["by"] == "block")).any()
        ]
        result.append(Chart("Coherent directions by block", *seen, _SHARES, Axis("block"), share_axis(table), panels))
    return [*result, spectra(found)]


def share_title(table: pd.DataFrame, level: float) -> tuple[str, str]:
    """What the figures of shares show, and what the numbers are."""
    own = table[(table["by"] == "all") & (table["unit"] == DIRECTION)].iloc[0]
    seen = (
        f"{percent(own['share'])} of the directions have p at most {level:g}, of Gaussian weights "
        f"{percent(own['gaussian'])}; {percent(own['rejected'])} survive the number of tests"
    )
    return seen, f"{own['tests']} tests of the coherence of the top tokens, a direction, side and sign each"


def share_axis(table: pd.DataFrame) -> Axis:
    """From 0 to the highest interval of a direction's group."""
    drawn = table[table["by"].isin(["index", "block", "kind"]) & (table["unit"] != "embedding")]
    return Axis("share with p at most the level", limits=(0.0, min(1.0, 1.1 * float(drawn["high"].max()))))


def _panel(title: str, table: pd.DataFrame, unit: str, by: str, level: float) -> Panel:
    of = table[(table["unit"] == unit) & (table["by"] == by)]
    x = of["place"].to_numpy(float)
    own = (of[name].to_numpy(float) for name in ("share", "low", "high"))
    share, low, high = own
    return Panel(
        title,
        [
            Series("model", x, share, low, high, marks="line+points", color="raw"),
            Series("Gaussian", x, of["gaussian"].to_numpy(float), marks="line+points", color="control"),
            Series("random signs", x, of["signs"].to_numpy(float), marks="line+points", color="equalised"),
        ],
        rules=[Rule("level", "y", level, "law")],
    )


def spectra(found: Tokens) -> Chart:
    """ln s over the index: a straight line is an exponential, and a circuit of a head ends at head_dim."""
    circuits, panels = found.circuits, []
    most = max(int(circuits["block"].max()), 1)
    for kind, of in circuits.groupby("kind", sort=False):
        every = max(1, -(-len(of) // MOST_LINES))
        series = []
        for row in of.iloc[::every].to_dict("records"):
            s = np.asarray(row["singular_values"], float)[: row["rank"]]
            i = np.unique(np.linspace(1, len(s), min(len(s), 80)).round().astype(int)) if len(s) else np.empty(0, int)
            series.append(Series("", i, s[i - 1] / s[0] if len(s) else s, color=row["block"] / most))
        panels.append(Panel(str(kind), series, note=spectrum_note(of)))
    seen = "Singular values of circuits: a straight line is an exponential fall"
    said = f"{len(circuits)} circuits of {circuits['kind'].nunique()} kinds, norms folded in as in the tables"
    return Chart("Spectra of circuits", seen, said, _SPECTRA, Axis("index"), Axis("s over the first", "log"), panels)


def spectrum_note(of: pd.DataFrame) -> str:
    """How exponential the spectra of one kind are, beside Gaussian ones."""
    if "decay_length" not in of or not of["decay_length"].notna().any():
        return ""
    note = f"c = {of['decay_length'].median():.3g}, off {of['decay_deviation'].median():.2f}"
    null = of["gaussian_decay_deviation"].median()
    return note + (f" (Gaussian {null:.2f})" if np.isfinite(null) else "")
