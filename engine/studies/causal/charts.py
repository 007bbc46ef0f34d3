"""What the page draws of a language model's fine-tuning; figures for papers are the same charts."""

from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule, Series
from eigensweep.engine.report.spectrum import block_of
from eigensweep.engine.report.style import number
from eigensweep.engine.studies.causal.spectra import normalised, spectra_of
from eigensweep.engine.studies.causal.summary import named
from eigensweep.engine.studies.causal.tables import Causal
from eigensweep.engine.tables.groups import labelled

if TYPE_CHECKING:
    import pandas as pd

_STEPS = Axis("training step")
COLORS = 7  # of the style sheet: c0 to c6
_LOSSES = "Held-out loss of the answers and of ordinary text at every kept step; grey: the batches learned from."
_NORMS = "Frobenius norm over that of step 0: the median over the matrices of a role. Black: weight decay alone."
_RANKS = "Stable rank over that of step 0: the median over the matrices of a role. At the dashed line it has halved."
_P_VALUES = "Mean p-value of a matrix's right singular vectors, median over the matrices of a role; random ones: 0.5."
_SPECTRA = (
    "Singular values over |W|_F by rank, of the matrix of each role whose normalised spectrum moved most. A pure "
    "shrink W' = c W would leave the grey line as it is."
)


def charts(run: Causal) -> dict[str, Chart]:
    """Every chart there is, by the stem of its figure."""
    found = {"losses": _losses(run), "norms": _norms(run)}
    frame = spectra_of(run)
    if frame is not None:
        found["ranks"] = _by_role(frame, "stable_ratio", "stable rank over that of step 0", _RANKS, 0.5)
        found["p_values"] = _by_role(frame, "mean_p_right", "mean p-value, right vectors", _P_VALUES, 0.5)
        found["spectra"] = _spectra(run, frame)
    return found


def _losses(run: Causal) -> Chart:
    panels, seen = [], []
    for decay in run.trainings():
        table, history = (part[part["weight_decay"] == decay] for part in (run.snapshots, run.history))
        steps = table["step"].to_numpy(float)
        lines = [Series("answers", steps, table["answer_loss"].to_numpy(float), marks="line+points", color="c0")]
        if np.isfinite(table["text_loss"]).any():
            lines.append(
                Series("ordinary text", steps, table["text_loss"].to_numpy(float), marks="line+points", color="c1")
            )
        looks = history["step"].to_numpy(float), history["train_loss"].to_numpy(float)
        panels.append(Panel(named(decay), [*lines, Series("answers, learned from", *looks, color="control")]))
        last = table.iloc[-1]
        text = f", text {number(last['text_loss'])}" if np.isfinite(last["text_loss"]) else ""
        seen.append(f"{named(decay)}: {number(last['answer_loss'])}{text}")
    note = "held-out loss at the last step, nats: of the answers, of ordinary text"
    return Chart("What is learned and forgotten", "; ".join(seen), note, _LOSSES, _STEPS, Axis("nats a token"), panels)


def _norms(run: Causal) -> Chart:
    frame, roles = labelled(run.moved[run.moved["block"].notna()])
    panels, seen = [], []
    for decay in run.trainings():
        kept = run.snapshots[run.snapshots["weight_decay"] == decay]
        mine = frame[frame["weight_decay"] == decay]
        alone = Series(
            "weight decay alone", kept["step"].to_numpy(float), kept["decay_alone"].to_numpy(float), color="ink"
        )
        panels.append(Panel(named(decay), [*_lines(mine, "norm_ratio", roles), alone]))
        last = mine[mine["step"] == mine["step"].max()]
        seen.append(
            f"{named(decay)}: {number(last['norm_ratio'].median())}, decay alone {number(kept['decay_alone'].iloc[-1])}"
        )
    note = "median of |W'| / |W| over the matrices in blocks at the last step"
    return Chart(
        "How far the matrices shrink", "; ".join(seen), note, _NORMS, _STEPS, Axis("|W'| / |W|", "log"), panels
    )


def _by_role(frame: "pd.DataFrame", column: str, label: str, reading: str, at: float) -> Chart:
    frame, roles = labelled(frame)
    panels, seen = [], []
    for decay, mine in frame.groupby("weight_decay", sort=False):
        panels.append(Panel(named(decay), _lines(mine, column, roles), rules=[Rule("", "y", at)]))
        first, last = (mine[mine["step"] == step] for step in (mine["step"].min(), mine["step"].max()))
        medians = (number(part[column].median()) for part in (first, last))
        seen.append(f"{named(decay)}: from {' to '.join(medians)}")
    note = "median over all matrices, at the first step and the last"
    return Chart(label.capitalize(), "; ".join(seen), note, reading, _STEPS, Axis(label), panels)


def _lines(frame: "pd.DataFrame", column: str, roles: list[str]) -> list[Series]:
    lines = []
    for i, role in enumerate(roles):
        medians = frame[frame["role"] == role].groupby("step", sort=True)[column].median()
        if len(medians):
            color = f"c{i % COLORS}"
            x, y = medians.index.to_numpy(float), medians.to_numpy(float)
            lines.append(Series(role, x, y, marks="line+points", color=color))
    return lines


def _spectra(run: Causal, frame: "pd.DataFrame") -> Chart:
    first, last = int(frame["step"].min()), int(frame["step"].max())
    decays = run.trainings()
    before = normalised(run, decays[0], first)
    after = {decay: normalised(run, decay, last) for decay in decays}
    moved = frame[(frame["weight_decay"] == decays[0]) & (frame["step"] == last)]
    panels = []
    for role, part in moved.groupby("role", sort=False):
        row = part.loc[part["shape_change"].idxmax()]
        s = before[row["name"]]
        x = np.arange(1, s.size + 1) / s.size
        lines = [Series(f"step {first}", x, s, color="control")]
        lines += [
            Series(f"step {last}, {named(decay)}", x, after[decay][row["name"]], color=f"c{i}")
            for i, decay in enumerate(decays)
        ]
        where = "" if (block := block_of(row)) is None else f", block {block}"
        panels.append(Panel(f"{role}{where}", lines, note=f"moved by {number(row['shape_change'])}"))
    changes = moved["shape_change"]
    seen = f"{named(decays[0])}: normalised spectra move by {number(changes.median())} in the median"
    note = "|s'/|W'| - s/|W||, 0 for a pure shrink, at most 1.41; drawn: the matrix of each role that moved most"
    axes = Axis("rank / number of singular values"), Axis("s / |W|", "log", ticks=_decades(panels))
    return Chart("Spectra without their scale", seen, note, _SPECTRA, *axes, panels)


def _decades(panels: list[Panel]) -> list[tuple[float, str]]:
    """Ticks as short as their room."""
    positive = np.concatenate([y[y > 0] for panel in panels for y in (np.asarray(s.y) for s in panel.series)])
    low, high = (int(f(np.log10(x))) for f, x in ((np.ceil, positive.min()), (np.floor, positive.max())))
    return [(10.0**k, f"1e{k}") for k in range(low, high + 1)]
