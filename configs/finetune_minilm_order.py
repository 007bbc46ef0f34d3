"""Does the order of fine-tuning and removal matter? MiniLM on BoolQ, a decile of all 36 matrices in the blocks at once.

    pip install '.[demo]'
    eigensweep-finetune --config=finetune_minilm_order --data=superglue_BoolQ_val.jsonl --workdir=runs/order

The claim: small singular values matter little when they are removed before fine-tuning, and more when they are removed
after it (Staats, Thamm & Rosenow 2024, BERT).

Runtime: 8 minutes on two cores (8 trainings of about 45 s, 14 measurements).

Measured with version 0.1, whose split let questions about one passage fall on both sides. Splits go by passage now, and
the numbers will differ.

Result (1,440 rows learned from, 640 held out, seeds 0 and 1): this model does not learn BoolQ from so little. It
answers "true" everywhere: accuracy 0.611, that of the majority, loss 0.668 against 0.670 of the label shares. What it
does not use, no removal can take away. Change of the loss in nats, 95 % interval over rows:

    decile          remove, then fine-tune      fine-tune, then remove     after less before
    1  (largest)    +0.0007 [-0.0016, +0.0032]  +0.0182 [+0.0057, +0.0300]  +0.0175 [+0.0028, +0.0315]
    5               +0.0001 [-0.0020, +0.0025]  +0.0003 [+0.0000, +0.0005]  +0.0001 [-0.0022, +0.0023]
    10 (smallest)   +0.0000 [-0.0014, +0.0016]  +0.0005 [-0.0002, +0.0013]  +0.0005 [-0.0018, +0.0026]

For the smallest decile nothing is told from noise; over the two seeds not even the largest is. The question needs a
task that the model learns: finetune_minilm_pairs.
"""

from ml_collections import ConfigDict

from eigensweep.configs import finetune_minilm


def get_config() -> ConfigDict:
    """Short trainings: 90 steps of 16 rows, 64 tokens each; the largest, a middle and the smallest decile."""
    short = {"length": 64, "num_train": 1600, "num_test": 640, "epochs": 1, "evaluate_every": 45}
    training = {"learning_rate": 2e-4, "dropout": False, "seeds": "0,1"}
    study = {"study": True, "deciles": "1,5,10"}
    return ConfigDict({**finetune_minilm.get_config(), **short, **training, **study})
