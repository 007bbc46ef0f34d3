"""As finetune_minilm_pairs, but what goes is a tenth of the residual stream: eigenvectors of its covariance.

pip install '.[demo]'
eigensweep-finetune --config=finetune_minilm_stream --data=superglue_BoolQ_val.jsonl --workdir=runs/stream

Runtime: 4 trainings of 90 steps and 3 measurements, 22 minutes on two cores shared with other work (12 minutes of CPU).

Result, one seed (so that nothing is said of other trainings). Fine-tuned with nothing removed: loss 0.1281 nats,
accuracy 0.964 on the held-out rows (majority 0.500). Change of the loss, 95 % bootstrap interval over rows:

    decile          remove, then fine-tune      fine-tune, then remove      after less before            accuracy
    1  (largest)    +0.571 [+0.520, +0.614]     +0.565 [+0.514, +0.608]     -0.005 [-0.015, +0.004]     -0.464, -0.464
    5               +0.072 [+0.024, +0.120]     +0.001 [-0.017, +0.019]     -0.070 [-0.117, -0.024]     -0.019, +0.003
    10 (smallest)   +0.010 [-0.023, +0.041]     -0.001 [-0.016, +0.012]     -0.011 [-0.044, +0.022]     -0.005, +0.002

Without the first tenth of the directions the model answers as the label shares do, and 90 steps bring nothing back.
The fifth and the last tenth can be taken from the fine-tuned model at no cost that these rows show. Singular values
behave otherwise (finetune_minilm_pairs): there the middle decile costs when it goes after fine-tuning, and fine-tuning
finds its way when it goes before. Here the projection stays while the model is trained.
"""

from ml_collections import ConfigDict

from eigensweep.configs import finetune_minilm_pairs


def get_config() -> ConfigDict:
    """One seed; the projection stays while the model is trained."""
    stream = {"scopes": "stream", "deciles": "1,5,10", "seeds": "0", "spectra": False}
    return ConfigDict({**finetune_minilm_pairs.get_config(), **stream})
