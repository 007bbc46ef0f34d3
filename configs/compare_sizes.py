r"""A small model against a large one: measures that do not grow with the matrix, at the same relative depth.

eigensweep-compare --config=compare_sizes --run=runs/small --run=runs/large --workdir=runs/sizes

Blocks are matched by (block + 1/2)/blocks; counts and ranks are shares of min(m, n). The page's chart and
spread.parquet hold the spread of every measure over the blocks of each model beside each other: larger models are said
to be steadier.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Matrices in blocks, measures without a unit; nothing can have moved."""
    return ConfigDict(
        {
            "command": "compare",
            "moved": False,
            "roles": "attention,mlp",
            "measures": "alpha,mp_ks,equalised_mp_ks,stable_rank,effective_rank,entropy,energy_right,"
            "num_right_outliers,num_right_outliers_beyond_signs,equalised_num_right_outliers,rejected_share_right,"
            "rejected_share_left,equalised_rejected_share_right,equalised_rejected_share_left,profile_rows,"
            "profile_columns",
        }
    )
