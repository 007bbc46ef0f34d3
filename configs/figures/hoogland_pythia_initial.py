"""Pythia-160m before its first step and after its last: what training made of noise.

eigensweep-compare --config=hoogland_pythia_initial --workdir=runs/pythia-initial
"""

from ml_collections import ConfigDict

from eigensweep.configs import compare_initial
from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("eigenspectra",),
    "spectra of a random start beside those of the trained model",
    "EleutherAI/pythia-160m at step0 and main",
    "gpt2-char against noise of its shapes, preset `compare_initial`: the stable rank of query and key falls from 34 "
    "to 4.5",
)


def get_config() -> ConfigDict:
    """The model's own start."""
    return ConfigDict(
        {
            **compare_initial.get_config(),
            "command": "compare",
            "checkpoint": "EleutherAI/pythia-160m@step0,EleutherAI/pythia-160m",
            "small": {"checkpoint": "pythia-steps", "num_resamples": 100, "top": 4},
        }
    )
