"""The defaults of an overlap study; every key can be overridden: `--config.num_rows=4096 --config.centred`.

eigensweep-overlap --checkpoint=gpt2 --text=wikitext2.txt --config.format=wikitext --workdir=runs/gpt2
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Options of `eigensweep-overlap`."""
    config = ConfigDict()
    config.checkpoint = ""  # folder or hub id; --checkpoint overrides it
    config.text = ""  # file; --text overrides it
    config.tokenizer = ""  # folder or hub id, "" for the checkpoint's own
    config.format = "text"  # text, wikitext, jsonl (joined), passages (JSON lines, each row apart), sampled
    config.field = "text"  # of JSON lines
    config.length = 128  # tokens a row
    config.num_rows = 1024  # of the text's rows, chosen by the seed; 0 for all
    config.seed = 0
    config.batch_size = 16
    config.dtype = "float32"  # of the forward pass: float32, bfloat16
    config.centred = False  # covariances about the mean activation
    config.level = 0.01  # what the sweep counts as outliers, where there is no sweep yet
    return config
