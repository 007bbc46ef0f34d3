"""What a training is asked for, and where it stands."""

import math
from dataclasses import dataclass, field

TRAINABLE = ("all", "head")


@dataclass(frozen=True)
class TrainOptions:
    """What determines a training besides the model, the data and the seed.

    Attributes:
      trainable: "all" parameters, or the "head": classifier and pooler.
      epochs: passes over the rows, at most.
      batch_size: rows a step.
      learning_rate: its peak.
      warmup: share of all steps over which the rate rises from 0; it falls to 0 at the last.
      weight_decay: AdamW's, on kernels and tables.
      clip: largest global norm of a gradient.
      dropout: drop out as the model's config says.
      evaluate_every: steps between two looks at the validation rows, after which the state is saved; 0: an epoch.
      patience: looks without a better loss after which the training stops; 0: never.
      max_steps: steps in all, at most; 0: those of the epochs.
    """

    trainable: str = "all"
    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    dropout: bool = True
    evaluate_every: int = 0
    patience: int = 0
    max_steps: int = field(default=0, repr=False)  # states of version 0.3 know nothing of it

    def __post_init__(self) -> None:
        if self.trainable not in TRAINABLE:
            raise ValueError(f"trainable is {self.trainable!r}; expected one of {', '.join(TRAINABLE)}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("evaluate_every", "patience", "weight_decay", "max_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 0")
        for name in ("learning_rate", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} is {getattr(self, name)}; expected a positive number")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; expected a share of the steps in [0, 1)")

    def steps(self, num_rows: int) -> tuple[int, int]:
        """Steps an epoch, and in all."""
        per_epoch = -(-num_rows // self.batch_size)
        total = per_epoch * self.epochs
        return per_epoch, min(total, self.max_steps or total)


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
      step: steps done.
      best_step, best_loss: when the validation loss was lowest, nats a row; step 0 until it was finite once.
      stale: looks since then.
      history: of every look: step, train_loss (mean over the steps since the last look), validation_loss,
        validation_accuracy.
    """

    step: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    stale: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
