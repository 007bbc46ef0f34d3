"""Do the smallest values of gpt2-char-shakespeare still matter beside controls that change as much?

    eigensweep-ablate --config=ablate_matched_gpt2_char --workdir=runs/matched-gpt2

RESULT
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Deciles of W and of the equalised matrix, outliers, and matched controls; windows of 128, one every 1000."""
    return ConfigDict(
        {
            "command": "ablate",
            "checkpoint": "../shared/checkpoints/gpt2-char-shakespeare",
            "data": "../shared/text/tinyshakespeare.txt",
            "data_from": 0.9,
            "length": 128,
            "stride": 1000,
            "removals": (
                "deciles", "equalised", "outliers:right", "outliers:left",
                "energy:decile:5", "energy:decile:10", "energy:right", "energy:left",
                "output:decile:5", "output:decile:10", "output:right", "output:left",
            ),
        }
    )  # fmt: skip
