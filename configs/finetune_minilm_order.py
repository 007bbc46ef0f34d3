"""Does the order of fine-tuning and removal matter? MiniLM on BoolQ, deciles of all matrices in the blocks at once."""

from ml_collections import ConfigDict

from eigensweep.configs import finetune_minilm


def get_config() -> ConfigDict:
    """Short trainings: 90 steps of 16 rows, 64 tokens each; the largest, a middle and the smallest decile."""
    config = finetune_minilm.get_config()
    config.study = True
    config.length = 64
    config.num_train = 1600
    config.num_test = 640
    config.epochs = 1
    config.evaluate_every = 45
    config.learning_rate = 2e-4
    config.dropout = False
    config.seeds = "0,1"
    config.deciles = "1,5,10"
    return config
