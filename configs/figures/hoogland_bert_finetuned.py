"""BERT-base before and after fine-tuning on SST-2: which matrices moved, and in how many directions?

eigensweep-compare --config=hoogland_bert_finetuned --workdir=runs/bert-sst2
"""

from ml_collections import ConfigDict

from eigensweep.configs import compare_finetuned
from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("eigenspectra",),
    "measures before and after fine-tuning",
    "google-bert/bert-base-uncased, textattack/bert-base-uncased-SST-2",
    "MiniLM on BoolQ pairs, preset `finetune_minilm_pairs`: the smallest tenth of attention's values moves by 4 to "
    "18 %, the largest by less than 0.1 %",
)


def get_config() -> ConfigDict:
    """All matrices that both have."""
    models = "google-bert/bert-base-uncased,textattack/bert-base-uncased-SST-2"
    return ConfigDict(
        {
            **compare_finetuned.get_config(),
            "command": "compare",
            "checkpoint": models,
            "small": {"checkpoint": "bert-steps", "num_resamples": 100, "top": 4},
        }
    )
