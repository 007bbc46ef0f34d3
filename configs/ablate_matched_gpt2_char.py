"""Do the smallest values of gpt2-char-shakespeare still matter beside controls that change as much?

    eigensweep-ablate --config=ablate_matched_gpt2_char --workdir=runs/matched-gpt2

Controls as in ablate_matched_stories. Runtime: 276 measurements, about 10 minutes on two busy cores (not run to its end
yet).

Result for two roles and 56 windows (--config.scopes=query,mlp_up --config.stride=2000, 50 s). Baseline 1.5988 nats a
character (7,112 targets). Without the smallest decile the loss changes by 0.00025 in the queries (0.017 % of |W|^2),
by 0.00001 without as much |W|^2 of the bulk, by -0.00004 without random directions that change the outputs as much; in
mlp_up (2.1 %) by 0.0105, 0.0109 and 0.0178: in neither role beyond every one of three draws. The smallest decile of the
equalised matrix costs as much (0.0002 and 0.0117). The bulk cannot match the right outliers of the queries (86 % of
|W|^2) nor, in two of four blocks, of mlp_up (50 %); random directions that change the outputs as much are nearly all of
them (501 of 512, 472 of 512), and cost about as much (1.89 against 1.87, 1.45 against 1.39).
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
