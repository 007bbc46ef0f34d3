"""What the fine-tuning of a language model left: its tables, and how they are read back."""

from pathlib import Path
from typing import ClassVar

from eigensweep.engine.studies.finetune.looks import LOOK
from eigensweep.engine.tables.columns import COUNT, FLOAT, Column
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.matrices import MATRICES
from eigensweep.engine.tables.result import Result, frame_of

NAME = "causal"
SNAPSHOTS = "snapshots"
"""The folder with the kept models: one a training in it, one a step in those."""
SERIES = "series"
"""The folder with a series of sweeps a training."""
KEY = {"weight_decay": Column(FLOAT, "", "AdamW's of this training"), "step": Column(COUNT, "", "steps done")}
CAUSAL = {
    **KEY,
    "decay_alone": Column(FLOAT, "", "c = prod (1 - rate_t weight_decay): without a gradient W would be c W"),
    "answer_loss": Column(FLOAT, "nats", "mean cross-entropy of the held-out answers' tokens"),
    "answer_accuracy": Column(FLOAT, "", "share of these tokens with the largest logit"),
    "text_loss": Column(FLOAT, "nats", "mean cross-entropy of the next tokens of ordinary text; NaN without one"),
    "text_accuracy": Column(FLOAT, "", "share of these tokens with the largest logit"),
    "seconds": Column(FLOAT, "s", "of the measurement; since the last start"),
}
MATRIX = {key: MATRICES[key] for key in ("name", "role", "tower", "guessed", "block", "expert", "m", "n")}
MOVED = {
    **KEY,
    **MATRIX,
    "norm": Column(FLOAT, "[w]", "|W'|_F at this step"),
    "norm_ratio": Column(FLOAT, "", "|W'|_F / |W|_F, W of step 0"),
    "cosine": Column(FLOAT, "", "<W, W'> / (|W|_F |W'|_F): 1 where W' = c W"),
    "added": Column(FLOAT, "", "|W' - c W|_F / |W'|_F, c = decay_alone: how much of W' the gradients put there"),
}
HISTORY = {**KEY, **LOOK}
LAYOUT = Layout(
    NAME,
    {"causal": CAUSAL, "causal_matrices": MOVED, "causal_history": HISTORY},
    "causal.json",
    keys={"causal": tuple(KEY), "causal_matrices": (*KEY, "name"), "causal_history": tuple(KEY)},
    needed={
        "causal": ("decay_alone", "answer_loss"),
        "causal_matrices": ("norm", "norm_ratio"),
        "causal_history": ("train_loss", "validation_loss"),
    },
    record=("rows",),
    unfinished=("training", SNAPSHOTS),
)


class Causal(Result):
    """The finished fine-tuning of a language model."""

    layout: ClassVar[Layout] = LAYOUT

    snapshots = frame_of("causal", "One row a training and step at which the model was kept.")
    moved = frame_of("causal_matrices", "One row a training, step and matrix.")
    history = frame_of("causal_history", "One row a training and look at the validation rows.")

    def trainings(self) -> list[float]:
        """The weight decay of each, in their order."""
        return list(dict.fromkeys(float(x) for x in self.tables["causal"]["weight_decay"].to_pylist()))


open_causal = Causal.read


def folder_of(weight_decay: float) -> str:
    """The name of a training's folders."""
    return f"weight-decay-{weight_decay:g}"


def snapshot_of(directory: Path, weight_decay: float, step: int) -> Path:
    """Where the model of a step lies, in Hugging Face layout."""
    return directory / SNAPSHOTS / folder_of(weight_decay) / f"step-{step:08d}"
