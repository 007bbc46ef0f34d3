"""BERT-base: where do the large eigenvalues of the activations' covariance come from?

eigensweep-overlap --config=staats_bert_covariances --workdir=runs/bert-covariances --figures

1024 windows of 128 tokens of WikiText-2's test set (the library `datasets` fetches it). The mean over examples of each
position is taken off the activations first; with --config.centring=none the table says which part of the first
eigenvalues such means carry.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("locating", "small"),
    "eigenvalues of the activations' covariance with the positions' means taken off, and the overlaps with its axes",
    "google-bert/bert-base-uncased, WikiText-2",
    "gpt2-char, stories260k, MiniLM, presets `overlap_gpt2_char`, `overlap_stories`, `overlap_minilm`: the first "
    "eigenvalue of F is mostly the mean's; in gpt2-char the second is the positions' (93 to 95 %), and once these are "
    "centred out the left outliers of `mlp_up` overlap by 0.44 instead of 0.78; in MiniLM by 0.24 instead of 0.25",
)


def get_config() -> ConfigDict:
    """As staats_bert_overlap, positions centred out."""
    small = {"checkpoint": "bert", "data": "words", "format": "text", "length": 16, "max_rows": 32}
    return ConfigDict(
        {
            "command": "overlap",
            "checkpoint": "google-bert/bert-base-uncased",
            **WIKITEXT,
            "length": 128,
            "max_rows": 1024,
            "centring": "positions",
            "small": small,
        }
    )
