"""As finetune_minilm_order, on a task that MiniLM does learn: does the passage belong to the question?"""

from ml_collections import ConfigDict

from eigensweep.configs import finetune_minilm_order


def get_config() -> ConfigDict:
    """BoolQ's questions, every other one with another question's passage."""
    config = finetune_minilm_order.get_config()
    config.task = "boolq_pairs"
    config.length = 48
    return config
