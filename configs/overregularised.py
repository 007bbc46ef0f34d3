"""Draft."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """100 steps of 16 pieces of a text, all answered with a full stop; decay alone leaves an eighth of a weight."""
    data = {"format": "text", "length": 64, "fixed_answer": ".", "num_train": 1760, "num_test": 256}
    training = {"steps": 100, "learning_rate": 1e-3, "weight_decay": 40.0, "evaluate_every": 25, "dropout": False}
    return ConfigDict({"command": "finetune", **data, **training, "undecayed": True, "save_at": "10,25,50"})
