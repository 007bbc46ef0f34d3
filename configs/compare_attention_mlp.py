r"""Attention against MLP within each model, block by block.

eigensweep-compare --config=compare_attention_mlp --run=runs/minilm --workdir=runs/minilm-roles

In every block the median of each measure over query, key, value and attention output is compared with that over the
MLP's matrices; counts and ranks as shares of min(m, n), as the shapes differ.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Four attention matrices against two or three of the MLP."""
    return ConfigDict({"command": "compare", "roles": "attention", "other_roles": "mlp"})
