"""Do the smallest values of gpt2-char-shakespeare still matter beside controls that change as much?

    eigensweep-ablate --config=ablate_matched_gpt2_char --workdir=runs/matched-gpt2

Controls and words as in ablate_matched_stories.

Runtime: 276 measurements, 7 minutes on two busy cores in five starts.

Result. Baseline 1.6141 nats a character (112 windows of 128, one every 1000 characters; 14,224 targets). Change of the
loss in nats without the smallest decile, and without each control (mean of three draws):

    role              decile 10   share of |W|^2, outputs   as much |W|^2         as much output
    query             0.00027      0.017 %   0.0012 %        0.00002  more        -0.00003  unclear
    key               0.00002      0.023 %   0.001 %        -0.00002  unclear      0.00002  unclear
    value             0.00021      0.064 %   0.04 %          0.00008  unclear      0.00064  unclear
    attention_output -0.00009      0.057 %   0.0094 %        0.00005  unclear     -0.00003  unclear
    mlp_up            0.0081         2.1 %   0.62 %           0.0129  unclear       0.0174  unclear
    mlp_down          0.0058         2.5 %   1.6 %            0.0075  unclear       0.0056  unclear

Here the smallest decile costs what its size says, or less; in the queries it is beyond as much |W|^2, by 0.00025. The
left outliers of mlp_up cost 0.0047, more than as much |W|^2 of the bulk (0.0007), less than random directions that
change the outputs as much (0.0098): these values are small, what they do to the outputs is not. A middle decile costs
less than random directions of its output in query and value (0.0004 against 0.0043, 0.028 against 0.047).

The bulk cannot match the right outliers in 12 of 24 matrices, in no role in all of them. Random directions that change
the outputs as much as these are nearly all there are, and cost about as much (1.86 against 1.88 in the queries, 2.02
against 1.92 in the values) but for mlp_down, 0.79 against 0.45.

Deciles of the equalised matrix follow those of W: the smallest cost 0.0096 in mlp_up, 0.0071 in mlp_down.
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
