"""Do the smallest values of llama-stories260k still matter beside controls that change as much?

    eigensweep-ablate --config=ablate_matched_stories --workdir=runs/matched-stories

RESULT
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Deciles of W and of the equalised matrix, outliers, and matched controls; 100 rows drawn from the model."""
    return ConfigDict(
        {
            "command": "ablate",
            "checkpoint": "../shared/checkpoints/llama-stories260k",
            "format": "sampled",
            "length": 64,
            "max_rows": 100,
            "removals": (
                "deciles", "equalised", "outliers:right", "outliers:left",
                "energy:decile:5", "energy:decile:10", "energy:right", "energy:left",
                "output:decile:5", "output:decile:10", "output:right", "output:left",
            ),
        }
    )  # fmt: skip
