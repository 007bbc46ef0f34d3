"""GPT-2 medium: the matrices of attention against those of the MLP, block by block.

eigensweep-compare --config=hoogland_gpt2_attention_mlp --workdir=runs/gpt2-roles
"""

from ml_collections import ConfigDict

from eigensweep.configs import compare_attention_mlp
from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("eigenspectra",),
    "alpha and other measures of attention matrices beside those of the MLP, by block",
    "openai-community/gpt2-medium",
    "MiniLM and gpt2-char, preset `compare_attention_mlp`; no number is recorded",
)


def get_config() -> ConfigDict:
    """As compare_attention_mlp."""
    return ConfigDict(
        {
            **compare_attention_mlp.get_config(),
            "command": "compare",
            "checkpoint": "openai-community/gpt2-medium",
            "small": {"checkpoint": "gpt2", "num_resamples": 100},
        }
    )
