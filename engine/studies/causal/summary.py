"""The fine-tuning of a language model as text: a line a kept step, then what became of the ranks."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.style import aligned, number, percent
from eigensweep.engine.spectral.phases import PHASES
from eigensweep.engine.studies.causal.spectra import HALVED, RULES, collapsed, spectra_of
from eigensweep.engine.studies.causal.tables import SERIES, SNAPSHOTS, Causal, folder_of
from eigensweep.engine.tables.equalised import EQUALISED

if TYPE_CHECKING:
    import pandas as pd

# Column -> (heading, what it is).
LEARNED = {
    "step": ("step", "steps of the optimizer"),
    "decay_alone": ("decay alone", "|W'| / |W| if weight decay were all that happens: c"),
    "norm_ratio": ("|W'|/|W|", "Frobenius norm over that of step 0, median over matrices"),
    "added": ("added", "|W' - c W| / |W'|: what the gradients put there, median over matrices"),
    "answer_loss": ("answer loss", "mean cross-entropy of the held-out answers, nats"),
    "answer_accuracy": ("right", "share of the held-out answers' tokens that have the largest logit"),
    "text_loss": ("text loss", "mean cross-entropy of ordinary text, nats a token: what is forgotten"),
}
RANKS = {
    "step": ("step", "steps of the optimizer"),
    "stable_ratio": ("stable rank", "over that of step 0, median over matrices"),
    "effective_ratio": ("effective", "effective rank over that of step 0, median over matrices"),
    "top_share": ("top |W|²", "share of |W|² in the largest singular value, median over matrices"),
    "shape_change": ("shape", "distance of s/|W| from that of step 0, median over matrices: 0 for a pure shrink"),
    "zeros": ("at zero", "singular values at zero, all matrices together"),
    "num_right_outliers": ("right", "values beyond the right edge, noise of one scale, all matrices together"),
    f"{EQUALISED}num_right_outliers": ("equalised", "the same with rows and columns of one scale"),
    "num_right_outliers_beyond_signs": ("signs", "values beyond those of the same entries with random signs"),
    "mean_p_right": ("p right", "mean p-value of the right singular vectors, median over matrices"),
    "mean_p_left": ("p left", "the same of the left singular vectors"),
}
_SUMS = {"zeros", *(name for name in RANKS if "num_right" in name)}
_SHARES = {"answer_accuracy", "top_share", "added"}


def named(decay: float) -> str:
    """What a training is called."""
    return f"weight decay {decay:g}" if decay else "no weight decay"


def learned(run: Causal) -> "pd.DataFrame":
    """A row a training and kept step: LEARNED as numbers."""
    keys = ["weight_decay", "step"]
    medians = run.moved.groupby(keys, sort=False)[["norm_ratio", "added"]].median()
    return run.snapshots.join(medians, on=keys)[["weight_decay", *LEARNED]]


def ranks(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A row a training and kept step of `spectra_of`: RANKS as numbers."""
    import pandas as pd

    rows = []
    for (decay, step), part in frame.groupby(["weight_decay", "step"], sort=False):
        row: dict[str, Any] = {"weight_decay": decay, "step": step}
        for column in list(RANKS)[1:]:
            values = part[column].astype("Float64").to_numpy(np.float64, na_value=np.nan)
            known = values[np.isfinite(values)]
            row[column] = (np.sum if column in _SUMS else np.median)(known) if known.size else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def render(run: Causal) -> str:
    """The study's results as plain text."""
    frame, parts = spectra_of(run), []
    for decay in run.trainings():
        parts += [named(decay).capitalize(), _table(learned(run), LEARNED, decay)]
        if frame is not None:
            parts.append(_table(ranks(frame), RANKS, decay))
    parts += [line if line[0].isupper() else f"  {line}" for line in answers(run, frame)]
    if run.directory is not None:
        parts.append(f"models: {run.directory}/{SNAPSHOTS}/*/step-*")
        if frame is not None:
            parts.append(
                f"step by step: eigensweep-report --run={run.directory}/{SERIES}/{folder_of(run.trainings()[0])}"
            )
    return "\n".join(parts)


def answers(run: Causal, frame: "pd.DataFrame | None") -> list[str]:
    """Of every training some lines: what was learned, what forgotten, and is there rank collapse?"""
    found = []
    table = learned(run)
    for decay in run.trainings():
        mine = table[table["weight_decay"] == decay].to_dict("records")
        first, last = mine[0], mine[-1]
        losses, right = (_change(first, last, column) for column in ("answer_loss", "answer_accuracy"))
        found.append(f"{named(decay).capitalize()}, step {last['step']}: loss of the answers {losses}, right {right}")
        if np.isfinite(last["text_loss"]):
            found.append(f"loss of ordinary text {_change(first, last, 'text_loss')} nats a token")
        found.append(
            f"|W'| / |W| is {number(last['norm_ratio'])} (median); weight decay alone would leave "
            f"{number(last['decay_alone'])}"
        )
        if frame is not None:
            found += _collapse(frame[frame["weight_decay"] == decay])
    return found


def _change(first: dict[str, Any], last: dict[str, Any], column: str) -> str:
    before, after = (percent(row[column]) if column in _SHARES else number(row[column]) for row in (first, last))
    return f"from {before} to {after}"


def _collapse(frame: "pd.DataFrame") -> list[str]:
    """How many matrices lost rank, by which rule."""
    steps = sorted(set(frame["step"]))
    first, last = (frame[frame["step"] == step] for step in (steps[0], steps[-1]))
    found = collapsed(first, last)
    either = np.any([names.to_numpy(bool) for names in found.values()], axis=0)
    if either.any():
        lines = [f"rank collapse in {either.sum()} of {len(last)} matrices by at least one of these rules:"]
    else:
        lines = [f"no rank collapse in {len(last)} matrices by any of these rules:"]
    lines += [f"{names.sum()} by {RULES[rule]}" for rule, names in found.items()]
    halved, top = int((last["stable_ratio"] < HALVED).sum()), (percent(x["top_share"].median()) for x in (first, last))
    lines.append(f"besides, in {halved} the stable rank has halved")
    lines.append(f"share of |W|² in the largest value, median: from {' to '.join(top)}")
    return [*lines, f"phases at step {steps[0]}: {phases(first)}", f"phases at step {steps[-1]}: {phases(last)}"]


def phases(frame: "pd.DataFrame", prefix: str = "") -> str:
    """How many matrices have which phase, the most frequent first."""
    counts = frame[f"{prefix}phase"].value_counts()
    return ", ".join(f"{counts[word]} {word}" for word in sorted(counts.index, key=lambda w: (-counts[w], _place(w))))


def _place(word: str) -> int:
    return PHASES.index(word) if word in PHASES else len(PHASES)


def _table(table: "pd.DataFrame", headings: dict[str, tuple[str, str]], decay: float) -> str:
    rows = [cells(row, headings) for row in table[table["weight_decay"] == decay].to_dict("records")]
    return aligned([[heading for heading, _ in headings.values()], *rows], left=0)


def cells(row: dict[str, Any], headings: dict[str, tuple[str, str]]) -> list[str]:
    """A row as text, a cell a heading."""
    return [
        f"{row[c]:.0f}" if c in ("step", *_SUMS) and np.isfinite(row[c])
        else percent(row[c]) if c in _SHARES else number(row[c])
        for c in headings
    ]  # fmt: skip
