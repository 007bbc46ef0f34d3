"""Write a checkpoint of noise with planted spikes, in Hugging Face layout, of any known architecture's config.

    eigensweep-synth --out=synth/llama-8b                       # Llama-3-8B's shapes: 16 GB, bfloat16, sharded
    eigensweep-synth --out=synth/two-blocks --blocks=2 --vocab=4096
    eigensweep-synth --out=synth/mine --config_json=config.json --dtype=float32

OUT/planted.json has the planted singular values of every matrix.
"""

import json
from pathlib import Path

from absl import flags

from eigensweep.bin.runner import UserError, console

_OUT = flags.DEFINE_string("out", None, "folder to write; must not exist, or be empty")
_CONFIG = flags.DEFINE_string("config_json", None, "config.json of a known architecture; default: Llama-3-8B's")
_BLOCKS = flags.DEFINE_integer("blocks", None, "this many blocks instead of the config's", lower_bound=1)
_VOCAB = flags.DEFINE_integer("vocab", None, "this vocabulary instead of the config's", lower_bound=1)
_DTYPE = flags.DEFINE_string("dtype", "bfloat16", "bfloat16, float16 or float32")
_SPIKES = flags.DEFINE_integer("spikes", 4, "spikes planted in every matrix", lower_bound=0)
_SEED = flags.DEFINE_integer("seed", 0, "of all numbers")


def main() -> None:
    """Flags -> config -> checkpoint."""
    from eigensweep.models import synth

    if not _OUT.value:
        raise UserError("no --out given: where should the checkpoint go?")
    config = _read(Path(_CONFIG.value)) if _CONFIG.value else dict(synth.LLAMA_8B)
    if _BLOCKS.value:
        key = "n_layer" if config.get("model_type") == "gpt2" else "num_hidden_layers"
        config[key] = _BLOCKS.value
    if _VOCAB.value:
        config["vocab_size"] = _VOCAB.value
    planted = synth.write_synthetic(_OUT.value, config, seed=_SEED.value, dtype=_DTYPE.value, spikes=_SPIKES.value)
    size = sum(f.stat().st_size for f in Path(_OUT.value).iterdir())
    print(f"{len(planted)} matrices with {_SPIKES.value} spikes each, {size / 1e9:.2f} GB: {_OUT.value}")


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"--config_json={path}: {error}") from error


run = console(main)

if __name__ == "__main__":
    run()
