"""Pythia-410m without what lies outside the Marchenko-Pastur edges, and without as much of the bulk.

eigensweep-ablate --config=staats_pythia_outliers --workdir=runs/pythia-outliers --figures

64 windows of 512 tokens of WikiText-2's test set (the library `datasets` fetches it), role by role.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure, staats_pythia_deciles

FIGURE = Figure(
    ("small",),
    "perplexity without the outliers at either end, against as many values of the bulk",
    "EleutherAI/pythia-410m-deduped, WikiText-2",
    "gpt2-char, preset `ablate_gpt2_shakespeare`: right 0.8 to 2.0 nats against 0.0003 to 0.083; hardly any left "
    "outliers",
)


def get_config() -> ConfigDict:
    """As in `staats_pythia_deciles`, without the outliers."""
    removals = "outliers:right,outliers:left,outliers:both,bulk:right,bulk:left,random:right,random:left"
    return ConfigDict({**staats_pythia_deciles.get_config(), "command": "ablate", "removals": removals})
