"""Digits: outliers and the power-law exponent over the batch size, with one learning rate.

eigensweep-toy --config=toy_mlp_batch_size --workdir=runs/toy-mlp-batch-size
eigensweep-toy --config=toy_mlp_batch_size --config.steps=1600 --workdir=runs/toy-mlp-batch-size-steps

[64, 256, 256, 10], alpha = 1, rate 0.1; 91 s on two busy cores. Medians over five seeds; outliers on the right, rows
and columns of one scale; the exponent is that of the power-law tail of the eigenvalues:

            40 epochs                                         1600 steps
batch size  steps   test %  outliers 1, 2   exponent 1, 2     test %  outliers 1, 2   exponent 1, 2
4           12560   98.6    7, 10           2.68, 2.51        98.1    7,  9           2.76, 2.63
16           3120   98.6    6, 10           3.05, 2.64        98.4    5, 10           3.38, 2.70
64            760   98.2    5, 10           3.63, 2.91        98.4    5, 10           3.39, 2.72
256           160   97.2    2,  8           5.18, 3.59        98.4    5, 10           3.34, 2.70

(1, 2: the layers.) At equal epochs smaller batches have more outliers and a smaller exponent, as the literature has it;
they also take more steps. At equal steps nothing of it is left from 16 rows on, in these ranges over five seeds: here
the batch size acts through the number of steps. Batches of 4 differ in layer 1 (2.76, 2.74 to 2.87, against 3.38, 3.07
to 3.5). At a rate of 0.2 batches of 4 end at guessing, with exponents near 1.5: a training that failed.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """[64, 256, 256, 10], batches of 4 to 256 rows, five seeds."""
    values = {"widths": (256, 256), "alphas": (1.0,), "batch_sizes": (4, 16, 64, 256)}
    return ConfigDict({"command": "toy", "model": "mlp", **values, "epochs": 40, "learning_rate": 0.1})
