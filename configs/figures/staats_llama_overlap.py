"""Llama-3.1-8B: do singular vectors outside the bulk meet the directions in which the activations vary?

eigensweep-overlap --config=staats_llama_overlap --workdir=runs/llama-overlap --figures

1024 windows of 128 tokens of WikiText-2's test set (the library `datasets` fetches it); F is not centred.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("locating", "small"),
    "overlap of Llama-8B's singular vectors with the eigenvectors of the activations' covariance, beside the spectrum",
    "meta-llama/Llama-3.1-8B (gated), WikiText-2",
    "stories260k, preset `overlap_stories`: larger above the right edge in five of seven roles, nowhere below the left",
)


def get_config() -> ConfigDict:
    """Windows chosen at random."""
    small = {"checkpoint": "llama", "data": "words", "format": "text", "length": 16, "max_rows": 32}
    return ConfigDict(
        {
            "command": "overlap",
            "checkpoint": "meta-llama/Llama-3.1-8B",
            **WIKITEXT,
            "length": 128,
            "max_rows": 1024,
            "dtype": "bfloat16",
            "small": small,
        }
    )
