"""GPT-2 small: distributions of weights, activations and gradients, norms over depth, rank plots.

eigensweep-facts --config=basic_gpt2_facts --workdir=runs/gpt2-facts --figures
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("internals",),
    "activations (nearly Gaussian, with outliers); outlier dimensions through the stream; weights and norm parameters; "
    "writing and reading norms over depth; gradients; rank plots of weights, of activation covariances and of the data "
    "set's covariance",
    "openai-community/gpt2, WikiText-2",
    "gpt2-char, stories260k, MiniLM, presets `facts_gpt2_char`, `facts_stories`, `facts_minilm`: pooled activations "
    "and gradients have exponential or heavier tails, single dimensions are nearly Gaussian; writing norms grow in the "
    "two pre-norm models",
)


def get_config() -> ConfigDict:
    """256 windows chosen at random, gradients of 16 of them, in the stream, too."""
    text = {"checkpoint": "gpt2", "data": "words", "format": "text", "length": 16, "max_rows": 8}
    return ConfigDict(
        {
            "command": "facts",
            "checkpoint": "openai-community/gpt2",
            **WIKITEXT,
            "length": 128,
            "max_rows": 256,
            "gradients": 16,
            "gradient_stream": True,
            "small": {**text, "gradients": 1, "gradient_stream": False, "ablations": 1, "num_resamples": 50},
        }
    )
