r"""all-MiniLM-L6-v2 (BERT, 6 blocks, d 384) on BoolQ passages: what do its numbers look like?

eigensweep-facts --config=facts_minilm --data=../shared/text/superglue_BoolQ_val.jsonl --workdir=runs/minilm-facts

It predicts nothing, so there are neither gradients nor ablations.
"""

from ml_collections import ConfigDict

from eigensweep.configs import minilm


def get_config() -> ConfigDict:
    """256 passages, chosen at random, cut at 128 tokens."""
    data = {"format": "passages", "field": "passage", "length": 128, "max_rows": 256}
    return ConfigDict({"command": "facts", "checkpoint": minilm.get_config().checkpoint, **data})
