"""gpt2-char-shakespeare whose norms read the residual stream without a tenth of its directions.

    eigensweep-ablate --config=ablate_covariance_gpt2 --workdir=runs/stream-gpt2

Question: which eigenvectors of the stream's covariance does the loss hang on (the projections of SliceGPT,
arXiv 2401.15024, by tenths)? LayerNorms are written as RMSNorms first; covariances come from 256 windows of the first
nine tenths of the text, losses from the last.

Runtime: 12 measurements, 35 s on two cores shared with other work.

Result. Baseline 1.5988 nats a character (56 windows of 128, one every 2000 characters; 7,112 targets). Rise of the loss
in nats, 95 % paired bootstrap intervals over windows; share: of the squared length of what the norms read:

    decile   share    rise of the loss             accuracy
    1        73 %     +2.196 [+2.132, +2.262]      -0.467
    2        13 %     +1.134 [+1.070, +1.206]      -0.268
    3        5.8 %    +0.331 [+0.300, +0.365]      -0.096
    4        3.4 %    +0.135 [+0.115, +0.155]      -0.036
    5        2.0 %    +0.060 [+0.049, +0.070]      -0.015
    6        1.2 %    +0.025 [+0.018, +0.033]      -0.001
    7        0.83 %   +0.016 [+0.011, +0.022]      -0.003
    8        0.53 %   +0.017 [+0.013, +0.021]      -0.001
    9        0.39 %   +0.0035 [+0.0006, +0.0065]   +0.002
    10       0.23 %   +0.0032 [+0.0006, +0.0060]   +0.001
    random   10 %     +0.409, +0.432 (two draws)   -0.105, -0.122

The rise falls with the eigenvalue but for the eighth decile, which lies within the seventh's interval; only the first
two deciles cost more than as many random directions. The smallest two still cost a little: their intervals exclude 0.
"""

from ml_collections import ConfigDict

from eigensweep.configs import ablate_gpt2_shakespeare


def get_config() -> ConfigDict:
    """All deciles of eigenvectors before every norm, and two draws of random directions."""
    stream = {"removals": "covariance:decile,covariance:random", "num_draws": 2, "stride": 2000}
    return ConfigDict({**ablate_gpt2_shakespeare.get_config(), **stream})
