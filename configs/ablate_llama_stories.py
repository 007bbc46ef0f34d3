"""llama-stories260k without its singular values, on text that it has written itself (no stories come with it).

    eigensweep-ablate --config=ablate_llama_stories --workdir=runs/ablation-llama

On its own samples a model has its entropy for a loss, and the rise after a removal is the Kullback-Leibler divergence
of the edited model: what the removal changes, not what it costs on stories that somebody else wrote. Only the first
64 tokens of a story are seen.

Runtime: 190 measurements, 2 to 4 minutes on two shared cores (1 minute of CPU time).

Result. Baseline 1.0935 nats a token (200 rows of 64 tokens, 12,600 targets). Rise of the loss in nats, all five blocks
at once, 95 % bootstrap intervals:

    role              shape    decile 1  decile 2  mean 5, 6  decile 9  decile 10  [interval]         random tenth
    query             64 x 64    2.223     0.073     0.0070    0.0007     0.0000   [-0.0003, 0.0003]  0.021 to 0.032
    key               32 x 64    2.844     0.075     0.0125    0.0049     0.0084   [0.0061, 0.0107]   0.66 to 1.08
    value             32 x 64    0.118     0.091     0.0650    0.0145     0.0100   [0.0077, 0.0124]   0.051 to 0.053
    attention_output  64 x 64    0.319     0.225     0.0273    0.0024     0.0001   [-0.0001, 0.0004]  0.049 to 0.055
    mlp_gate         172 x 64    1.381     0.615     0.1941    0.0839     0.0455   [0.0396, 0.0509]   0.23 to 0.26
    mlp_up           172 x 64    0.900     0.636     0.2068    0.0902     0.0508   [0.0449, 0.0570]   0.23 to 0.28
    mlp_down          64 x 172   1.018     0.355     0.1328    0.0613     0.0314   [0.0272, 0.0356]   0.16 to 0.17

The smallest decile stays below the middle two in every role. It beats its neighbour, decile 9, in one: the keys,
32 x 64, the only role with many values below the left edge (18 of 160). Those 18 hold 0.036 % of |W|^2 and cost
0.0125 nats [0.0099, 0.0150]; 18 values from the bulk, with 2.2 to 4.3 %, cost 0.010 to 0.023. For their share of the
norm they matter 50 to 80 times more, by their number no more than the bulk does. In mlp_down the 4 left outliers
(0.14 %) cost 0.003, 4 bulk values (1.0 to 1.3 %) 0.012 to 0.019. Square matrices have no left outliers, and their
smallest decile cannot be told from 0. Right outliers beat as many bulk values in all roles but value (which has one):
2.3 against 0.02 nats in the query, 0.6 against 0.08 in mlp_up. A random tenth costs about as much as a middle decile
or more, because random directions meet the large values too. With b = 32 or 64 the deciles differ in size (3 or 4, 6
or 7 values a matrix).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Deciles, outliers and controls, role by role; 200 rows of 64 tokens drawn from the model."""
    return ConfigDict(
        {
            "command": "ablate",
            "checkpoint": "../shared/checkpoints/llama-stories260k",
            "format": "sampled",
            "length": 64,
            "max_rows": 200,
        }
    )
