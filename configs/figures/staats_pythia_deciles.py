"""Pythia-410m without a decile of its singular values: which deciles does the loss hang on?

eigensweep-ablate --config=staats_pythia_deciles --workdir=runs/pythia-deciles --figures

64 windows of 512 tokens of WikiText-2's test set (the library `datasets` fetches it), role by role.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("small",),
    "perplexity of Pythia over the decile removed, role by role",
    "EleutherAI/pythia-410m-deduped, WikiText-2",
    "gpt2-char and stories260k, presets `ablate_gpt2_shakespeare`, `ablate_llama_stories`: the smallest decile never "
    "costs more than the mean of deciles 5 and 6",
)


def get_config() -> ConfigDict:
    """Role by role, in all blocks at once."""
    small = {"checkpoint": "pythia", "data": "words", "format": "text", "length": 16, "max_rows": 8}
    return ConfigDict(
        {
            "command": "ablate",
            "checkpoint": "EleutherAI/pythia-410m-deduped",
            **WIKITEXT,
            "length": 512,
            "max_rows": 64,
            "removals": "deciles,random:decile",
            "small": {**small, "num_resamples": 50, "num_draws": 1, "scopes": "query,mlp_up"},
        }
    )
