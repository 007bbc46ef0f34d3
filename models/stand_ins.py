"""Tiny stand-ins for models and data sets of the hub: what a preset is tried on without a network, in seconds.

A model is noise with planted spikes (synth.py) in the architecture that it stands for: 2 blocks, 32 wide, 64 tokens,
which are words of syllables with the special tokens of that family. Texts are drawn from these words, frequent and
rare ones. Nothing that a study finds in them means anything, but for the spikes. All matrices are 32 x 32, 64 x 32 or
32 x 64, so that one set of compiled programs serves all models.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.choice import WEIGHTS
from eigensweep.models.staging import staged
from eigensweep.models.synth import SIGMA, write_synthetic

VOCABULARY, WIDTH, NEURONS, BLOCKS, HEADS, POSITIONS = 64, 32, 64, 2, 4, 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SIZES = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS}
_MORE = {"intermediate_size": NEURONS, "max_position_embeddings": POSITIONS, "vocab_size": VOCABULARY}
_TOKENS = {"bos_token_id": 2, "eos_token_id": 3}
MODELS: dict[str, dict[str, Any]] = {
    "bert": {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        **{**_SIZES, **_MORE, "type_vocab_size": WIDTH},
    },
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{"n_embd": WIDTH, "n_layer": BLOCKS, "n_head": HEADS, "n_inner": NEURONS, "n_positions": POSITIONS},
        **{"vocab_size": VOCABULARY, **_TOKENS},
    },
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{**_SIZES, **_MORE, **_TOKENS, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": False},
    },
    "pythia": {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        **{**_SIZES, **_MORE, **_TOKENS, "tie_word_embeddings": False},
    },
}
"""config.json by kind."""
SPIKES = 2  # in every matrix of a model that stands for a trained one
SERIES = {"step-0": 0, "step-8": 1, "step-64": 2}
"""Of a kind such as `pythia-steps`: the checkpoints of one training, and the spikes in each."""
SIZES = {"small": 2, "large": 3}
"""Of a kind such as `gpt2-sizes`: the models of one family, and their blocks."""
DATA = ("words", "questions")


def write_model(kind: str, folder: str | Path) -> str:
    """Write the stand-in of a kind below `folder`, unless it is there.

    Args:
      kind: one of MODELS; with "-steps" or "-sizes" behind it several of one family, as SERIES and SIZES say.
      folder: where stand-ins go.

    Returns:
      Its path; of several their paths, joined by commas.

    Raises:
      CheckpointError: there is no such kind, or it cannot be written.
    """
    name, _, several = kind.partition("-")
    if name not in MODELS or several not in ("", "steps", "sizes"):
        raise CheckpointError(f"{kind!r} is no stand-in; there are {', '.join(MODELS)}, each with -steps and -sizes")
    config, place = MODELS[name], Path(folder) / kind
    if not several:
        wanted = {place: (config, SPIKES)}
    elif several == "steps":
        wanted = {place / step: (config, spikes) for step, spikes in SERIES.items()}
    else:
        wanted = {place / size: (_deeper(config, blocks), SPIKES) for size, blocks in SIZES.items()}
    for path, (its_config, spikes) in wanted.items():
        if path.is_dir() and any(path.iterdir()):
            continue  # written whole or not at all
        with staged(path) as stage:
            write_synthetic(stage, its_config, dtype="float32", spikes=spikes)
            _write_tokenizer(stage, bert=name == "bert")
            if name == "bert":
                _add_masked_head(stage / WEIGHTS)
    return ",".join(map(str, wanted))


def write_data(kind: str, folder: str | Path) -> str:
    """Write a text ("words") or rows of questions and passages ("questions", as BoolQ's) below `folder`.

    Returns:
      The path of the file.

    Raises:
      CheckpointError: there is no such kind, or it cannot be written.
    """
    if kind not in DATA:
        raise CheckpointError(f"{kind!r} are no data to stand in; there are {', '.join(DATA)}")
    rng, words = np.random.default_rng(0), _words()
    frequency = 1 / np.arange(1, len(words) + 1)

    def draw(count: int) -> str:
        return " ".join(rng.choice(words, count, p=frequency / frequency.sum()))

    if kind == "words":
        name, content = "words.txt", draw(4000)
    else:
        rows = ({"question": draw(4), "passage": draw(10)} for _ in range(160))
        labelled = [{**row, "label": words[0] in row["question"].split()} for row in rows]
        name, content = "questions.jsonl", "\n".join(map(json.dumps, labelled)) + "\n"
    place = Path(folder) / kind
    if not (place / name).is_file():
        with staged(place) as stage:
            stage.mkdir()
            (stage / name).write_text(content)
    return str(place / name)


def _add_masked_head(weights: Path) -> None:
    """BERT's head for masked tokens, which a config does not ask for; its table is the embedding."""
    from safetensors.numpy import load_file, save_file

    noise = np.random.default_rng(1).standard_normal((WIDTH, WIDTH), np.float32)
    head = {
        "transform.dense.weight": np.float32(SIGMA) * noise,
        "transform.dense.bias": np.zeros(WIDTH, np.float32),
        "transform.LayerNorm.weight": np.ones(WIDTH, np.float32),
        "transform.LayerNorm.bias": np.zeros(WIDTH, np.float32),
        "bias": np.zeros(VOCABULARY, np.float32),
    }
    arrays = load_file(weights) | {f"cls.predictions.{name}": array for name, array in head.items()}
    save_file(arrays, weights, metadata={"format": "pt"})


def _deeper(config: Mapping[str, Any], blocks: int) -> dict[str, Any]:
    return {key: blocks if key in ("num_hidden_layers", "n_layer") else value for key, value in config.items()}


def _words() -> list[str]:
    """Words that mean nothing: as many as there is room for beside the special tokens."""
    words = [a + b for a in "bdfgklmnprst" for b in ("ada", "ero", "ilu", "omi", "une")]
    return words[: VOCABULARY - len(SPECIAL)]


def _write_tokenizer(folder: Path, bert: bool) -> None:
    """One token a word; BERT's begins and ends each text with a special token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *_words()))}
    model = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    if bert:
        model.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    ends = {"cls_token": "[CLS]", "sep_token": "[SEP]"} if bert else {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=model, **special, **ends).save_pretrained(folder)
