"""Pythia-160m along its training: alpha, ranks, outliers and the phase of every matrix from step to step.

eigensweep-series --config=hoogland_pythia_training --workdir=runs/pythia-training --figures

Eighteen checkpoints, each a sweep of its own; alpha as WeightWatcher fits it.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("eigenspectra",),
    "power-law exponents and the phases of Martin and Mahoney along a language model's training",
    "EleutherAI/pythia-160m at 18 steps",
    "a GPT-2 of 4 blocks trained here, presets `pretrain_tiny` and `eigensweep-series`: at step 0 27 of 27 matrices "
    "are random-like, then the phases come in their order (README)",
)


def get_config() -> ConfigDict:
    """Steps 0, 1, 2, 4, … 512, 1000, 2000, 4000, … 128000, 143000."""
    steps = "0,1,2,4,8,16,32,64,128,256,512,1000,2000,4000,8000,32000,64000,143000"
    return ConfigDict(
        {
            "command": "series",
            "checkpoints": f"EleutherAI/pythia-160m@step{{{steps}}}",
            "power_law": "weightwatcher",
            "control": "none",
            "num_flips": 0,
            "small": {"checkpoints": "pythia-steps"},
        }
    )
