r"""all-MiniLM-L6-v2 (BERT, 6 blocks, d 384): directions of 72 heads and 12 MLP matrices on its 30,522 word pieces.

eigensweep-tokens --config=tokens_minilm --config.data=superglue_BoolQ_val.jsonl --config.field=passage \
    --workdir=runs/minilm-tokens

156 circuits and 20,832 tests of coherence in 260 s beside a test suite on the same two cores, half of it for the
nulls; without the tests (--config.description=none) 48 s of processor time. 11.9 % of the tests have p <= 0.05
(Gaussian weights 5.2 %, random signs 4.8 %), 105 survive Benjamini-Hochberg, 83 of them in blocks 0 and 1; single
neurons 14.7 %, axes of the embedding 29 % (README has the table). What is written is projected on the embedding, as
BERT's head is no linear map; nothing is folded, as its norms stand behind the sums; biases are kept beside the
circuits.

kind     circuits  rank  stable rank  alone  beyond signs
ov             72    32           13    3 %             0
qk             72    32         12.3    3 %             1
mlp_in          6   384         26.1    9 %            19
mlp_out         6   384         24.2   10 %             1

alone: share of the 100 directions read of a circuit whose singular value stands apart from its neighbours by more than
noise of the entries would move it; of the others only the span of their group is determined. beyond signs: median
number of singular values beyond those of weights with random signs. So most directions of single heads are one choice
of axes among many in their span, and few heads have a value that the sizes of their weights do not explain.
"""

from ml_collections import ConfigDict

from eigensweep.configs import minilm


def get_config() -> ConfigDict:
    """The first and the last 50 directions of every circuit, 20 tokens at both ends."""
    return ConfigDict({"command": "tokens", "checkpoint": minilm.get_config().checkpoint})
