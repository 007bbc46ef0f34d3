"""The classifier of a model that is to learn to tell labels apart: the checkpoint's, or one that is drawn."""

import dataclasses

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.assemble import add_heads
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params


def check_classifier(model: Model, num_labels: int) -> None:
    """Can the model be trained to tell so many labels apart?

    Raises:
      CheckpointError: a causal model; or its classifier has another number of labels.
    """
    arch = model.architecture
    if arch.causal:
        raise CheckpointError(
            f"a classifier reads the first token, which a causal model ({arch.family}) lets see nothing else: "
            "an encoder (bert, roberta) is needed"
        )
    if "classifier" in model.heads and arch.num_labels != num_labels:
        raise CheckpointError(f"the checkpoint's classifier has {arch.num_labels} labels, the data {num_labels}")


def with_classifier(model: Model, params: Params, num_labels: int, seed: int) -> tuple[Model, Params]:
    """The model with a classifier, drawn from `seed` where the checkpoint has none.

    Raises:
      CheckpointError: a causal model; or its classifier has another number of labels.
    """
    check_classifier(model, num_labels)
    arch = model.architecture
    if "classifier" in model.heads:
        return model, params
    wider = dataclasses.replace(model, architecture=dataclasses.replace(arch, num_labels=num_labels))
    heads = ("classifier",) if arch.classifier_dense else ("pooler", "classifier")
    return add_heads(wider, params, heads, seed)
