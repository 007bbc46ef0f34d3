"""The looks at the validation rows while a model is trained: their columns, and what is told of each."""

from collections.abc import Callable

from eigensweep.engine.run.progress import OnProgress, Progress
from eigensweep.engine.tables.columns import COUNT, FLOAT, Column
from eigensweep.models import nn

LOOK = {
    "step": Column(COUNT, "", "steps done at this look at the validation rows"),
    "train_loss": Column(FLOAT, "nats", "mean cross-entropy of the batches since the last look"),
    "validation_loss": Column(FLOAT, "nats", "mean cross-entropy of the validation rows' targets"),
    "validation_accuracy": Column(FLOAT, "", "share of these targets with the largest logit"),
}
"""The columns of an entry of `nn.Progress.history`."""


def telling(on_progress: OnProgress, name: str) -> Callable[[nn.Progress, int], None]:
    """`on_look` of `nn.train`: tells where the training of the model `name` is."""

    def tell(progress: nn.Progress, total: int) -> None:
        look = progress.history[-1]
        what = (
            f"{name}: step {progress.step} of {total}: train {look['train_loss']:.4f}, "
            f"validation {look['validation_loss']:.4f}, accuracy {look['validation_accuracy']:.3f}"
        )
        on_progress(Progress(progress.step, total, progress.step, total, what, "training"))

    return tell
