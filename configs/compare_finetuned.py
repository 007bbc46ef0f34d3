r"""A base model against what was fine-tuned from it: how far each matrix moved, and in how many directions.

eigensweep-compare --config=compare_finetuned --checkpoint=BASE --checkpoint=TUNED --workdir=DIR

Every matrix is matched by name, and W' - W is held against noise as a sweep holds W: an update of low rank (LoRA)
shows as that many directions, in whatever noise it lies; training without structure shows none. The angles between the
top 16 singular directions before and after say whether the model's own strongest directions were turned.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All matrices, the top 16 directions."""
    return ConfigDict({"command": "compare", "top": 16})
