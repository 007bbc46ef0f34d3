"""Digits: outliers and the power-law exponent over the batch size, rate and epochs the same.

eigensweep-toy --config=toy_mlp_batch_size --workdir=runs/toy-mlp-batch-size
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """[64, 256, 256, 10], batches of 4 to 256 rows, five seeds."""
    values = {"widths": (256, 256), "alphas": (1.0,), "batch_sizes": (4, 16, 64, 256), "epochs": 40}
    return ConfigDict({"command": "toy", "model": "mlp", **values})
