"""Do the smallest values of llama-stories260k still matter beside controls that change as much?

    eigensweep-ablate --config=ablate_matched_stories --workdir=runs/matched-stories

Controls: as much |W - W'|^2 from values of the bulk (energy:...), and random directions that change the outputs as much
(output:...), mean |(W - W') x|^2 over the 6,300 tokens on which the loss is taken; three draws each. The text is the
model's own, as in ablate_llama_stories.

Runtime: 322 measurements, two and a half minutes of processor time in two starts.

Result. Baseline 1.0965 nats a token (100 rows of 64). Change of the loss in nats without the smallest decile, and
without each control (mean of its draws); "more" where the decile costs more than every single draw, each paired 95 %
interval apart from 0:

    role              decile 10   share of |W|^2, outputs   as much |W|^2         as much output
    query             -0.0002        0.006 %   0.0015 %     -0.0000  unclear      0.0001  unclear
    key                0.0068        0.028 %   0.0032 %      0.0003  more         0.0001  more
    value              0.0098          1 %       1.6 %       0.0061  unclear      0.0080  unclear
    attention_output   0.0001        0.042 %   0.029 %      -0.0001  unclear      0.0001  unclear
    mlp_gate           0.0453        1.5 %       1.6 %       0.0305  more         0.0342  unclear
    mlp_up             0.0489        1.7 %       1.6 %       0.0335  unclear      0.0356  more
    mlp_down           0.0292        1.5 %       2.1 %       0.0221  unclear      0.0284  unclear

Beside three draws a removal that is like them costs more in up to one role of four by chance, and less in as many: so
"more" in two roles of seven is no finding by itself; twenty times as much is.

So in the keys the smallest values matter beyond their size: twenty times as much as the bulk for their share of |W|^2
and over fifty times for their share of the outputs. Their 18 left outliers do too (0.0110 against 0.0003 and 0.0012).
In the MLP the smallest decile costs 1.0 to 1.5 times its controls, which not every draw of three confirms; elsewhere
nothing is to be seen. A middle decile (5) costs as much as its controls in most roles, more in mlp_gate (0.224 against
0.188 and 0.176), and in the keys less than random directions of its output (0.013 against 0.028).

Right outliers: in queries and keys the bulk does not hold as much (no match in any of their matrices); in mlp_up they
cost more than as much of the bulk (0.57 against 0.45), in value and attention_output less (0.0025 against 0.013, 0.10
against 0.15). For what they change of the outputs they cost less than random directions in mlp_gate (1.2 against 2.1),
mlp_up (0.57 against 1.2) and attention_output, more in keys (2.8 against 2.3) and mlp_down.

Deciles of the equalised matrix follow those of W closely: in this model rows and columns differ little in scale.
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
