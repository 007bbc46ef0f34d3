r"""Least squares on spiked data: small singular values that lie along the axes in which the data vary most.

eigensweep-toy --config=toy_linear --workdir=runs/toy-linear
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The defaults."""
    return ConfigDict({"command": "toy", "model": "linear"})
