"""Digits: does training from uniform or sparse first weights end in Gaussian ones?

eigensweep-toy --config=toy_mlp_initial --workdir=runs/toy-mlp-initial
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """[64, 256, 256, 10], three laws of first weights, five seeds."""
    values = {"widths": (256, 256), "alphas": (1.0,), "inits": ("gaussian", "uniform", "sparse")}
    return ConfigDict({"command": "toy", "model": "mlp", **values})
