"""Llama-3.1-8B without a decile of its singular values: which deciles does the loss hang on?

eigensweep-ablate --config=staats_llama_deciles --workdir=runs/llama-deciles --figures

64 windows of 512 tokens of WikiText-2's test set (the library `datasets` fetches it), role by role.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("locating", "small"),
    "perplexity of Llama-8B over the decile removed, role by role",
    "meta-llama/Llama-3.1-8B, WikiText-2",
    "stories260k, preset `ablate_llama_stories`: the loss falls with the decile; of `key` the smallest costs more than "
    "the 9th",
)


def get_config() -> ConfigDict:
    """Role by role, in all blocks at once."""
    small = {"checkpoint": "llama", "data": "words", "format": "text", "length": 16, "max_rows": 8}
    return ConfigDict(
        {
            "command": "ablate",
            "checkpoint": "meta-llama/Llama-3.1-8B",
            **WIKITEXT,
            "length": 512,
            "max_rows": 64,
            "removals": "deciles,random:decile",
            "small": {**small, "num_resamples": 50, "num_draws": 1, "scopes": "query,mlp_up"},
        }
    )
