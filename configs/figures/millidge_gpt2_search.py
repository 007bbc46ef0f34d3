"""GPT-2 medium: directions traced by their own top tokens, and how near the right one is found.

eigensweep-trace --config=millidge_gpt2_search --workdir=runs/gpt2-search
eigensweep-trace --config=millidge_gpt2_search --query="fire, flame, burning" --workdir=runs/gpt2-search
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("directions",),
    "directions found by a query of words, and by the top tokens of a direction",
    "openai-community/gpt2-medium",
    "planted model, gpt2-char, MiniLM, `eigensweep-trace --config.closed_loop=1000`: every planted direction is found; "
    "in the trained models the median cosine is that of random vectors within 0.06",
)


def get_config() -> ConfigDict:
    """The source's threshold is 4.8 standard deviations of a random cosine, which is the default."""
    return ConfigDict(
        {
            "command": "trace",
            "checkpoint": "openai-community/gpt2-medium",
            "closed_loop": 1000,
            "small": {"checkpoint": "gpt2", "closed_loop": 10, "loop_tokens": 4},
        }
    )
