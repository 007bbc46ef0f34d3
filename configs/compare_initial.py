r"""A model against its own random start: what training made of noise.

eigensweep-synth --out=runs/initial --config_json=../shared/checkpoints/gpt2-char-shakespeare/config.json \
    --spikes=0 --dtype=float32
eigensweep-compare --config=compare_initial --checkpoint=runs/initial \
    --checkpoint=../shared/checkpoints/gpt2-char-shakespeare --workdir=runs/initial-trained

The start is noise of the same shapes (a saved step 0 serves better where there is one: of a start that is not the
model's own, `moved` is the distance between unrelated matrices). Of gpt2-char all 27 matrices of noise read
random-like; the stable rank of query and key falls from 34 to 4.5, and no subspace of ten top directions overlaps with
the noise's more than random ones do (0.02 to 0.13; 99 % of random ones are below 0.10 to 0.20).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All matrices."""
    return ConfigDict({"command": "compare"})
