"""A GPT-2 of 4 blocks, 128 wide, from nothing on the characters of one text; kept at steps 0, 1, 2, 4, … 2000.

eigensweep-pretrain --config=pretrain_tiny --config.data=tinyshakespeare.txt --workdir=models/tiny
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The defaults of the training, written out where they make the recipe."""
    return ConfigDict({"command": "pretrain", "steps": 2000, "batch_size": 16, "learning_rate": 1e-3, "seed": 0})
