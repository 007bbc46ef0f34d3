"""Pythia-160m every few thousand steps: weights' norms, spectra, outliers and phases.

eigensweep-series --config=basic_pythia_training --workdir=runs/pythia-series --figures

The source looks at every thousandth step of five sizes; --checkpoints takes other sizes and steps. Distributions of
weights and activations at one step: basic_pythia_facts.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("training",),
    "weights from Gaussian to heavy-tailed, their norms and singular values from step to step",
    "EleutherAI/pythia-160m at 16 steps",
    "a GPT-2 of 4 blocks trained here, presets `pretrain_tiny` and `eigensweep-series` (README); five LoRA adapters of "
    "roberta-base: 2 right outliers at step 500, 4 at step 8610",
)


def get_config() -> ConfigDict:
    """Steps 1000, 10000, 20000, … 140000, 143000."""
    model = "EleutherAI/pythia-160m@step"
    return ConfigDict(
        {
            "command": "series",
            "checkpoints": f"{model}{{1000,143000}},{model}{{10000..140000..10000}}",
            "small": {"checkpoints": "pythia-steps"},
        }
    )
