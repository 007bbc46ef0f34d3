r"""A 260 K Llama of five blocks, d 64, on stories that it writes itself: what do its numbers look like?

eigensweep-facts --config=facts_stories --checkpoint=../shared/checkpoints/llama-stories260k \
    --workdir=runs/stories-facts
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """256 rows of 128 tokens, each from the start token; gradients of 16 of them, in the stream, too."""
    data = {"format": "sampled", "length": 128, "max_rows": 256}
    return ConfigDict({"command": "facts", "gradients": 16, "gradient_stream": True, **data})
