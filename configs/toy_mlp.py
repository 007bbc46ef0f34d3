"""Lazy against feature learning on digits: what small singular values are for (Staats, Thamm & Rosenow).

eigensweep-toy --config=toy_mlp --workdir=runs/toy-mlp
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """[64, 512, 512, 512, 10], alpha 1 and 15, five seeds."""
    return ConfigDict({"command": "toy", "model": "mlp", "alphas": (1.0, 15.0), "epochs": 30})
