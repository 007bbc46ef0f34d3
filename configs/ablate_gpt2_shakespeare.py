"""gpt2-char-shakespeare without its singular values, on the last tenth of tinyshakespeare (its validation text).

    eigensweep-ablate --config=ablate_gpt2_shakespeare --workdir=runs/ablation-gpt2

Question: which deciles of the singular values does the loss hang on, and do the smallest ever count for more than a
middle one (M. Staats, M. Thamm, B. Rosenow, Small Singular Values Matter, arXiv 2410.17770)?

Runtime: 163 measurements, 2 minutes of CPU time, 6 minutes on two shared cores.

Result. Baseline 1.6098 nats a character (223 windows of 128, one every 500 characters; 28,321 targets). Rise of the
loss in nats, all four blocks at once, 95 % bootstrap intervals:

    role              shape      decile 1  decile 2  mean 5, 6  decile 9  decile 10  [interval]          random tenth
    query             128 x 128    1.841     0.014    0.0002    -0.0001     0.0002   [0.0001, 0.0003]    0.033 to 0.052
    key               128 x 128    1.889     0.024    0.0003     0.0001     0.0000   [-0.0000, 0.0001]   0.056 to 0.083
    value             128 x 128    2.006     0.155    0.0238     0.0042     0.0005   [0.0002, 0.0008]    0.115 to 0.163
    attention_output  128 x 128    1.964     0.249    0.0124     0.0011    -0.0001   [-0.0003, 0.0000]   0.073 to 0.094
    mlp_up            512 x 128    1.283     0.381    0.0354     0.0071     0.0071   [0.0052, 0.0090]    0.100 to 0.129
    mlp_down          128 x 512    0.678     0.158    0.0162     0.0077     0.0064   [0.0050, 0.0076]    0.032 to 0.037

The first decile carries most in every role, and the effect falls with the rank. The smallest decile is below the
middle two in five of six roles and level with them in the query (difference -7e-6 [-3e-4, 3e-4]), where everything
from decile 5 on changes less than 0.001; there it is above deciles 7 and 9, by 0.0008 and 0.0003, intervals apart from
0. In the square matrices it tends to zero, in the rectangular ones it levels off at the height of deciles 8 and 9.
Right outliers (33 to 90 values a role) cost 0.8 to 2.0 nats, as many values from the bulk 0.0003 to 0.08, as many
random directions 0.05 to 0.32. There are hardly any left outliers: one in the keys (no effect) and four in mlp_up,
which hold 0.08 % of |W|^2 and cost 0.0034 [0.0021, 0.0047], four bulk values (0.5 %) 0.0021 to 0.0028, four random
directions (0.7 to 0.8 %) 0.006 to 0.008.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Deciles, outliers and controls, role by role; windows of 128 characters, one every 500."""
    return ConfigDict(
        {
            "command": "ablate",
            "checkpoint": "../shared/checkpoints/gpt2-char-shakespeare",
            "data": "../shared/text/tinyshakespeare.txt",
            "data_from": 0.9,
            "length": 128,
            "stride": 500,
        }
    )
