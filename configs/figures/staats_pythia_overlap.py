"""Pythia-410m: do singular vectors outside the bulk meet the directions in which the activations vary?

eigensweep-overlap --config=staats_pythia_overlap --workdir=runs/pythia-overlap --figures

1024 windows of 128 tokens of WikiText-2's test set (the library `datasets` fetches it); F is not centred.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("small",),
    "overlap of Pythia's singular vectors with the eigenvectors of the activations' covariance, beside the spectrum",
    "EleutherAI/pythia-410m-deduped, WikiText-2",
    "gpt2-char, preset `overlap_gpt2_char`: larger above the right edge in every role, below the left one in `mlp_up`",
)


def get_config() -> ConfigDict:
    """Windows chosen at random."""
    small = {"checkpoint": "pythia", "data": "words", "format": "text", "length": 16, "max_rows": 32}
    return ConfigDict(
        {
            "command": "overlap",
            "checkpoint": "EleutherAI/pythia-410m-deduped",
            **WIKITEXT,
            "length": 128,
            "max_rows": 1024,
            "small": small,
        }
    )
