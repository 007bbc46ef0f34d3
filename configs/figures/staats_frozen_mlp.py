"""Frozen first layers on CIFAR-10: what is left without 80 % of the sum of their singular values.

eigensweep-toy --config=staats_frozen_mlp --data=cifar-10-batches-bin --workdir=runs/frozen-mlp --figures

Data as in staats_lazy_mlp. Published on CIFAR-10: accuracies of 53.5 % (trained) and 46 % (frozen); without 80 % of the
sum the frozen network guesses, the trained one keeps 50 %.
"""

from ml_collections import ConfigDict

from eigensweep.configs import toy_mlp_frozen
from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("locating",),
    "accuracy over the share of the sum of singular values removed, first layers frozen or trained",
    "CIFAR-10's binary files (`--data`); without them digits",
    "digits, preset `toy_mlp_frozen`: without 80 % of the sum 94.4 % (trained) and 11.1 % (frozen, a guess); the "
    "published figures are of CIFAR-10, which is not at hand: they stay open",
)


def get_config() -> ConfigDict:
    """As toy_mlp_frozen."""
    small = {"widths": (32, 32, 32, 32), "seeds": "0", "epochs": 1, "max_train": 64, "removed": "0,50"}
    return ConfigDict({**toy_mlp_frozen.get_config(), "command": "toy", "small": small})
