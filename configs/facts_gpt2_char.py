r"""A character GPT-2 (4 blocks, d 128) on Tiny Shakespeare: what do its numbers look like?

eigensweep-facts --config=facts_gpt2_char --checkpoint=../shared/checkpoints/gpt2-char-shakespeare \
    --data=../shared/text/tinyshakespeare.txt --workdir=runs/gpt2-char-facts
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """256 windows of 128 characters, chosen at random; gradients of 16 of them, in the stream, too."""
    data = {"format": "text", "length": 128, "max_rows": 256}
    return ConfigDict({"command": "facts", "gradients": 16, "gradient_stream": True, **data})
