"""BERT-base: do singular vectors outside the bulk meet the directions in which the activations vary?

eigensweep-overlap --config=staats_bert_overlap --workdir=runs/bert-overlap --figures

1024 windows of 128 tokens of WikiText-2's test set (the library `datasets` fetches it); F is not centred.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("locating", "small"),
    "overlap of BERT's singular vectors with the eigenvectors of the activations' covariance, beside the spectrum",
    "google-bert/bert-base-uncased, WikiText-2",
    "MiniLM, preset `overlap_minilm`: larger above the right edge in every role, below the left one in `mlp_up` alone",
)


def get_config() -> ConfigDict:
    """Windows chosen at random."""
    small = {"checkpoint": "bert", "data": "words", "format": "text", "length": 16, "max_rows": 32}
    return ConfigDict(
        {
            "command": "overlap",
            "checkpoint": "google-bert/bert-base-uncased",
            **WIKITEXT,
            "length": 128,
            "max_rows": 1024,
            "small": small,
        }
    )
