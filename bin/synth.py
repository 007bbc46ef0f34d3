"""Write a checkpoint of noise with planted spikes, in Hugging Face layout, of any known architecture's config.

    eigensweep-synth --out=synth/llama-8b                       # Llama-3-8B's shapes: 16 GB, bfloat16, sharded
    eigensweep-synth --out=synth/two-blocks --blocks=2 --vocab=4096
    eigensweep-synth --out=synth/mine --config_json=config.json --dtype=float32
    eigensweep-synth --out=synth/words --plant_tokens           # small, runs: known circuits write known words

OUT/planted.json has the planted singular values of every matrix; with --plant_tokens, which circuit reads and writes
which words at which index and sign.
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
_WORDS = flags.DEFINE_bool("plant_tokens", False, "a small model with a tokenizer, in which circuits write known words")
_LAYOUT = flags.DEFINE_string("layout", "gpt2", "of --plant_tokens: gpt2 (fused, tied) or llama (grouped, gated)")
_SIZED = ("config_json", "blocks", "vocab", "dtype", "spikes")  # what --plant_tokens sets itself


def main() -> None:
    """Flags -> config -> checkpoint."""
    from eigensweep.models import synth

    if not _OUT.value:
        raise UserError("no --out given: where should the checkpoint go?")
    if _WORDS.value:
        return _plant()
    if flags.FLAGS["layout"].present:
        raise UserError("--layout goes with --plant_tokens; a model's own shapes come with --config_json")
    config = _read(Path(_CONFIG.value)) if _CONFIG.value else dict(synth.LLAMA_8B)
    if _BLOCKS.value:
        key = "n_layer" if config.get("model_type") == "gpt2" else "num_hidden_layers"
        config[key] = _BLOCKS.value
    if _VOCAB.value:
        config["vocab_size"] = _VOCAB.value
    planted = synth.write_synthetic(_OUT.value, config, seed=_SEED.value, dtype=_DTYPE.value, spikes=_SPIKES.value)
    size = sum(f.stat().st_size for f in Path(_OUT.value).iterdir())
    what = f"{len(planted)} matrices with {_SPIKES.value} spikes each" if planted else "noise alone"
    print(f"{what}, {size / 1e9:.2f} GB: {_OUT.value}")


def _plant() -> None:
    """The small checkpoint of words."""
    from eigensweep.models import planted

    if given := [name for name in _SIZED if flags.FLAGS[name].present]:
        raise UserError(f"--{given[0]} does not go with --plant_tokens, whose sizes are fixed")
    plants = planted.write_planted(_OUT.value or "", _LAYOUT.value, seed=_SEED.value)
    print(f"{len(plants)} directions for {len(planted.CLUSTERS)} clusters of words: {_OUT.value}")


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"--config_json={path}: {error}") from error


run = console(main)

if __name__ == "__main__":
    run()
