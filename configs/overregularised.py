r"""A language model taught to answer one token to everything, under strong weight decay: do its matrices lose rank?

eigensweep-finetune --config=overregularised --checkpoint=../shared/checkpoints/gpt2-char-shakespeare \
    --data=../shared/text/tinyshakespeare.txt --workdir=runs/over
eigensweep-finetune --config=overregularised --checkpoint=openai-community/gpt2 --data=TEXT --workdir=runs/over-gpt2

The published result: hardly any change of the spectra, no rank collapse. It was not said by how much the weights had
shrunk; decay alone takes W to c W, which changes no shape, so c is told beside everything.

Runtime: two minutes of processor time on the character model (GPT-2: nobody has measured it; the five models kept of
each training take 500 MB each, its state 2 GB).

What came out on the character model (4 blocks, d 128, 24 matrices in the blocks), medians over matrices:

                               decay alone  loss of   loss of  stable rank  effective   |W|^2 in the  rank
                               leaves c =   answers   text     / at start   / at start  largest s    collapse
before                         1            9.21      1.48     1            1            6 %         -
no weight decay (control)      1            0.00045   12.5     0.81         0.995        8 %         0 of 24
weight decay 40 (this config)  0.126        0.0196    7.84     0.584        0.984       14 %         0 of 24
--config.weight_decay=200      0.000017     2.42      4.19     0.068        0.356       88 %         16 of 24

Rank collapse: by the phase (5 % of the values at zero), the numerical or the effective rank (half of what it was); all
16 by the effective rank, in no matrix are there values at zero. As published: with seven eighths of every weight gone
the spectra keep their shape, but for the one direction that the answer needs. Where decay would leave nothing, what is
left is what the gradients put there, and that is of low rank: the collapse is of the training, not of the shrinking.
p-values of singular vectors hardly move (right ones 0.51, 0.53 after; without decay 0.52).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """100 steps of 16 pieces of a text, all answered with a full stop; decay alone leaves an eighth of a weight."""
    data = {"format": "text", "length": 64, "fixed_answer": ".", "num_train": 1760, "num_test": 256}
    training = {"steps": 100, "learning_rate": 1e-3, "weight_decay": 40.0, "evaluate_every": 25, "dropout": False}
    return ConfigDict({"command": "finetune", **data, **training, "undecayed": True, "save_at": "10,25,50"})
