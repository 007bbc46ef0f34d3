"""GPT-2 in its four sizes: alpha and the other measures of every matrix, from small to extra large.

eigensweep-fleet --config=hoogland_gpt2_sizes --workdir=runs/gpt2-sizes
eigensweep-fleet --workdir=runs/gpt2-sizes --scatter=alpha,alpha_weighted,log_alpha_norm,stable_rank

The second command draws the measures over the number of parameters; with --scores=FILE.csv over any score of the
models, such as their losses.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("eigenspectra",),
    "measures that need no data (alpha, its weighted kinds, ranks) over the sizes of one family",
    "openai-community/gpt2, -medium, -large, -xl",
    "no family of several sizes is at hand",
)


def get_config() -> ConfigDict:
    """WeightWatcher's fit."""
    return ConfigDict(
        {
            "command": "fleet",
            "checkpoints": "openai-community/gpt2{,-medium,-large,-xl}",
            "power_law": "weightwatcher",
            "control": "none",
            "num_flips": 0,
            "small": {"checkpoints": "gpt2-sizes"},
        }
    )
