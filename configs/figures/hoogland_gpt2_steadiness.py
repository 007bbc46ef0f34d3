"""GPT-2 small against GPT-2 extra large: is the larger model steadier from block to block?

eigensweep-compare --config=hoogland_gpt2_steadiness --workdir=runs/gpt2-steadiness

As compare_sizes: measures that do not grow with the matrix, blocks matched by their relative depth.
"""

from ml_collections import ConfigDict

from eigensweep.configs import compare_sizes
from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("eigenspectra",),
    "measures over the depth of a small and a large model, and their spread over the blocks",
    "openai-community/gpt2, openai-community/gpt2-xl",
    "no family of several sizes is at hand",
)


def get_config() -> ConfigDict:
    """The roles of attention and MLP."""
    models = "openai-community/gpt2,openai-community/gpt2-xl"
    return ConfigDict(
        {
            **compare_sizes.get_config(),
            "command": "compare",
            "checkpoint": models,
            "small": {"checkpoint": "gpt2-sizes", "num_resamples": 100, "measures": "alpha,stable_rank"},
        }
    )
