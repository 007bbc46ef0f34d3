"""Fine-tuning all-MiniLM-L6-v2 (BERT, 6 layers, d 384) on 2,600 rows of BoolQ.

    pip install '.[demo]'
    eigensweep-finetune --config=finetune_minilm --config.data=superglue_BoolQ_val.jsonl --workdir=runs/boolq

Runtime: with `--config.epochs=1` 172 s on two quiet cores (147 steps; loss 0.6676, accuracy 0.609, that of the
majority), so about 9 minutes for the three epochs, which were not run to the end. With 90 steps of 64 tokens
(finetune_minilm_order) the model does not get past the majority of the labels.
"""

from ml_collections import ConfigDict

from eigensweep.configs import finetune, minilm


def get_config() -> ConfigDict:
    """Three epochs of the whole model."""
    config = finetune.get_config()
    config.checkpoint = minilm.get_config().checkpoint
    config.learning_rate = 1e-4
    return config
