"""The defaults of a sweep; every key can be overridden: `--config.level=0.05 --config.roles=query,key`.

    eigensweep-sweep --checkpoint=gpt2 --workdir=runs/gpt2

See `eigensweep.engine.SweepOptions` for what each key does.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Options of `eigensweep-sweep`; `roles` and `blocks` are comma-separated, "" for all, ranges as 0-5."""
    config = ConfigDict()
    config.checkpoint = ""  # folder, file or hub id; --checkpoint overrides it
    config.seed = 0
    config.level = 0.01
    config.sigma = "bulk"  # bulk, entries, init
    config.control = "permutation"  # none, gaussian, permutation, both
    config.power_law = "default"  # default, weightwatcher
    config.null = "table"  # table, monte_carlo
    config.num_draws = 100_000  # a dimension, for null = monte_carlo
    config.min_dim = 1
    config.roles = ""
    config.blocks = ""
    config.strategy = "auto"  # auto, lapack, gram, polar, direct, streamed
    return config
