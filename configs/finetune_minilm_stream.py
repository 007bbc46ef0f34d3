"""As finetune_minilm_pairs, but what goes is a tenth of the residual stream: eigenvectors of its covariance.

pip install '.[demo]'
eigensweep-finetune --config=finetune_minilm_stream --data=superglue_BoolQ_val.jsonl --workdir=runs/stream
"""

from ml_collections import ConfigDict

from eigensweep.configs import finetune_minilm_pairs


def get_config() -> ConfigDict:
    """One seed; the projection stays while the model is trained."""
    stream = {"scopes": "stream", "deciles": "1,5,10", "seeds": "0", "spectra": False}
    return ConfigDict({**finetune_minilm_pairs.get_config(), **stream})
