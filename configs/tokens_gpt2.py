"""GPT-2 small from the hub: directions of its 144 heads and 24 MLP matrices on the unembedding's 50,257 tokens.

eigensweep-tokens --config=tokens_gpt2 --workdir=runs/tokens-gpt2

Needs the hub (548 MB). It was not run where this was written, which has no hub: no result is given. Of the same family
the character GPT-2 was run, and compared with TransformerLens's SVDInterpreter (tests/studies/test_tokens_parity.py).
--dry_run says what it takes on your machine.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The first and the last 50 directions of every circuit, 20 tokens at both ends."""
    return ConfigDict({"command": "tokens", "checkpoint": "openai-community/gpt2"})
