"""The linear random-matrix model: why small singular values can carry what was learned.

eigensweep-toy --config=staats_linear_model --workdir=runs/linear-model --figures

As toy_linear, whose docstring has the result: least squares on data whose covariance is a power law, the generalised
Marchenko-Pastur law beside it, lower outliers and their overlap with the data's axes, growth with the samples.
"""

from ml_collections import ConfigDict

from eigensweep.configs import toy_linear
from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("small",),
    "spectrum of the linear model, lower outliers, their overlap with the data's axes, growth with the number of "
    "samples",
    "nothing",
    "the whole experiment, preset `toy_linear`",
)


def get_config() -> ConfigDict:
    """As toy_linear."""
    small = {"inputs": 32, "outputs": 64, "samples": "64,128", "num_seeds": 3, "num_null": 99}
    return ConfigDict({**toy_linear.get_config(), "command": "toy", "small": small})
