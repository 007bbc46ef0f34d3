"""The defaults of a removal study; every key can be overridden: `--config.scopes=query,key --config.stride=512`.

    eigensweep-ablate --checkpoint=gpt2 --config.data=corpus.txt --workdir=runs/gpt2-ablation

See `eigensweep.engine.run.ablation_plan.AblationOptions` and `eigensweep.engine.spectral.removal` for what can be
taken out of what.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Options of `eigensweep-ablate`; lists are comma-separated."""
    config = ConfigDict()
    config.checkpoint = ""  # folder or hub id; --checkpoint overrides it

    # what is taken out
    config.scopes = "roles"  # roles, matrices, blocks, all, single roles and matrices' names
    config.removals = (
        "deciles, outliers:right, outliers:left, bulk:right, bulk:left, "
        "random:right, random:left, random:decile"
    )
    config.num_draws = 3  # of every bulk and random control
    config.seed = 0
    config.level = 0.01  # of the outlier tests, a side and matrix
    config.sigma = "bulk"  # bulk, entries, init: sets the edges
    config.strategy = "auto"
    config.num_resamples = 2000
    config.confidence = 0.95

    # what is measured
    config.measure = "auto"  # by the model's head: perplexity, masked, accuracy
    config.data = ""  # a file, NAME[:CONFIGURATION]:SPLIT of the hub, or "sampled": drawn from the model
    config.data_kind = "text"  # text, wikitext, jsonl, hub; for a classifier boolq, wic, labelled
    config.field = "text"  # of jsonl, hub and labelled rows
    config.pair_field = ""
    config.labels = ""  # of labelled rows, in the order of the classifier's outputs
    config.data_from = 0.0  # the part of the text, by shares of its characters
    config.data_to = 1.0
    config.tokenizer = ""  # folder or hub id; the checkpoint's own by default
    config.any_tokenizer = (
        False  # True: also one with far fewer tokens than the model embeds, another model's
    )
    config.length = 0  # tokens a row; 0: as many as the model has positions, at most 2048
    config.stride = 0  # of the windows; 0: the length; beyond it the windows lie apart
    config.max_rows = 0  # evenly spaced rows; 0: all of them
    config.mask_probability = 0.15
    config.batch_size = 32
    config.dtype = "float32"  # of the forward pass: float32, bfloat16
    config.param_dtype = ""  # of the parameters; as stored by default
    config.data_devices = 1  # devices that share each batch
    config.stream = (
        False  # one block on the device at a time, read anew for every removal: for models beyond it
    )
    return config
