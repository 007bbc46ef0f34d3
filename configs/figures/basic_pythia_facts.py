"""Pythia-160m at the end of its training: distributions of weights, activations and gradients.

eigensweep-facts --config=basic_pythia_facts --workdir=runs/pythia-facts --figures

For another step: --checkpoint=EleutherAI/pythia-160m@step1000 --workdir=runs/pythia-facts-1000.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("training",),
    "weights, activations, gradients and norms of one checkpoint, to be held against other steps",
    "EleutherAI/pythia-160m, WikiText-2",
    "of one checkpoint only, as in `basic_gpt2_facts`",
)


def get_config() -> ConfigDict:
    """256 windows chosen at random, gradients of 16 of them, in the stream, too."""
    text = {"checkpoint": "pythia", "data": "words", "format": "text", "length": 16, "max_rows": 8}
    return ConfigDict(
        {
            "command": "facts",
            "checkpoint": "EleutherAI/pythia-160m",
            **WIKITEXT,
            "length": 128,
            "max_rows": 256,
            "gradients": 16,
            "gradient_stream": True,
            "small": {**text, "gradients": 0, "gradient_stream": False, "ablations": 0, "num_resamples": 50},
        }
    )
