"""GPT-2 small taught to answer one token to everything, under strong weight decay: do its matrices lose rank?

eigensweep-finetune --config=staats_gpt2_overregularised --workdir=runs/gpt2-overregularised --figures

As overregularised, whose docstring has the result on a character model; which model the source takes is not known here.
"""

from ml_collections import ConfigDict

from eigensweep.configs import overregularised
from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("locating",),
    "spectra before and after over-regularised fine-tuning: hardly any change, no rank collapse",
    "openai-community/gpt2, WikiText-2",
    "gpt2-char, preset `overregularised`: with an eighth of the weights left 0 of 24 matrices collapse, with "
    "`--config.weight_decay=200` 16 of 24",
)


def get_config() -> ConfigDict:
    """As overregularised."""
    text = {"checkpoint": "gpt2", "data": "words", "format": "text", "length": 16, "fixed_answer": "bada"}
    short = {
        "num_train": 40,
        "num_test": 8,
        "steps": 2,
        "evaluate_every": 2,
        "save_at": "1",
        "undecayed": False,
        "spectra": False,
    }
    return ConfigDict(
        {
            **overregularised.get_config(),
            "command": "finetune",
            "checkpoint": "openai-community/gpt2",
            **WIKITEXT,
            "small": {**text, **short},
        }
    )
