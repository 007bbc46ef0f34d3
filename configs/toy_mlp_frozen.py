"""Digits: frozen first layers, and what is left without a share of the sum of their singular values.

eigensweep-toy --config=toy_mlp_frozen --workdir=runs/toy-mlp-frozen
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """[64, 512, 512, 256, 256, 10], all layers trained or the first two frozen, five seeds."""
    values = {"widths": (512, 512, 256, 256), "alphas": (1.0,), "frozen": (0, 2)}
    return ConfigDict({"command": "toy", "model": "mlp", **values})
