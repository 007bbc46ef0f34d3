"""GPT-2 medium: singular directions of OV circuits and MLP weights as tokens, and whether these hang together.

eigensweep-tokens --config=millidge_gpt2_directions --workdir=runs/gpt2-directions --figures
eigensweep-label --run=runs/gpt2-directions --config.label_url=URL --config.label_model=NAME

Shares by block and by index are drawn from a calibrated test of coherence; the second command asks a language model
for labels, as the source does.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("directions",),
    "top tokens of singular directions; share of interpretable directions by block and by index; singular values of "
    "OV circuits and MLP weights; beside single neurons",
    "openai-community/gpt2-medium",
    "MiniLM, gpt2-char, stories260k, preset `tokens_minilm` and `eigensweep-tokens`: 11.9, 5.9 and 6.9 % of the tests "
    "have p <= 0.05 (noise 5 %); neurons 14.7, 7.2 and 7.2 %",
)


def get_config() -> ConfigDict:
    """The first and last 50 directions of every OV circuit and MLP matrix."""
    return ConfigDict(
        {
            "command": "tokens",
            "checkpoint": "openai-community/gpt2-medium",
            "kinds": "ov,mlp_in,mlp_out",
            "small": {"checkpoint": "gpt2", "first": 3, "last": 2, "tokens": 4, "num_draws": 100, "neurons": 8},
        }
    )
