"""BERT-base on BoolQ: deciles of singular values removed before fine-tuning, and after it.

eigensweep-finetune --config=staats_bert_finetune --workdir=runs/bert-boolq --figures

Ten deciles, five seeds, both orders: 55 trainings and 50 measurements more, made for an accelerator. The spectra before
and after fine-tuning are compared in spectral_change.parquet. The source's hyperparameters are not known here.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import BOOLQ, Figure

FIGURE = Figure(
    ("locating", "small"),
    "loss and accuracy over the decile removed, before against after fine-tuning; spectra and p-values before and "
    "after fine-tuning",
    "google-bert/bert-base-uncased, google/boolq",
    "MiniLM, presets `finetune_minilm_order` and `_pairs`: the smallest decile's order is not told from noise, the "
    "middle one costs +0.262 nats after and -0.002 before",
)


def get_config() -> ConfigDict:
    """All of BoolQ's training rows, a tenth of them held out."""
    study = {"study": True, "deciles": "1-10", "seeds": "0-4", "dropout": False}
    training = {"length": 128, "num_train": 8400, "epochs": 3, "learning_rate": 3e-5}
    rows = {"format": "boolq", "length": 16, "num_train": 96, "num_test": 32}
    short = {"epochs": 1, "evaluate_every": 3, "seeds": "0", "deciles": "10", "orders": "after", "spectra": False}
    return ConfigDict(
        {
            "command": "finetune",
            "checkpoint": "google-bert/bert-base-uncased",
            **BOOLQ,
            **training,
            **study,
            "small": {"checkpoint": "bert", "data": "questions", **rows, **short},
        }
    )
