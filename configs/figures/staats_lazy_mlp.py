"""Lazy against feature learning on CIFAR-10: what is left of a network without its smallest singular values.

eigensweep-toy --config=staats_lazy_mlp --data=cifar-10-batches-bin --workdir=runs/lazy-mlp --figures

--data is the folder of CIFAR-10's binary files, which is no data set of the hub: download and unpack
cifar-10-binary.tar.gz. Without it the networks learn scikit-learn's digits (extra `demo`), as in toy_mlp. Published on
CIFAR-10: accuracies of 53 % (alpha 1) and 44 % (alpha 15); removing 20 % of the values is harmless at alpha 1.
"""

from ml_collections import ConfigDict

from eigensweep.configs import toy_mlp
from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("locating",),
    "accuracy over the share of singular values removed, alpha 1 and 15",
    "CIFAR-10's binary files (`--data`); without them digits",
    "digits, preset `toy_mlp`: 98.6 % (alpha 1) and 97.7 % (alpha 15); without 20 % of the values -0.1 and -1.2 "
    "points; the published figures are of CIFAR-10, which is not at hand: they stay open",
)


def get_config() -> ConfigDict:
    """As toy_mlp."""
    small = {"widths": (32, 32, 32), "seeds": "0", "epochs": 1, "max_train": 64, "removed": "0,50"}
    return ConfigDict({**toy_mlp.get_config(), "command": "toy", "small": small})
