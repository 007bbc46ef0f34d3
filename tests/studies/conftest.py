"""Small checkpoints with tokenizers and data, for studies that pass something through a model."""

import json

import numpy as np
import pytest

from eigensweep.models.synth import write_synthetic

WORDS = ["good", "bad", "some", "more", "less", "warm", "cold", "red"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": len(SPECIAL + WORDS),
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 16,
}
BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": len(SPECIAL + WORDS),
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
}


def write_tokenizer(folder):
    """A tokenizer of whole words."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", bos_token="[CLS]"
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    """A random GPT-2 of two blocks, 24 wide, with a tokenizer, and text.txt beside it."""
    folder = tmp_path_factory.mktemp("gpt2") / "model"
    write_synthetic(folder, GPT2, dtype="float32", spikes=2)
    write_tokenizer(folder)
    text = " ".join(np.random.default_rng(0).choice(WORDS, 400))
    (folder.parent / "text.txt").write_text(text)
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """A random BERT of two blocks, 20 wide, with a tokenizer, and rows.jsonl beside it: "yes" where `a` has "good"."""
    folder = tmp_path_factory.mktemp("bert") / "model"
    write_synthetic(folder, BERT, dtype="float32", spikes=2)
    write_tokenizer(folder)
    rng = np.random.default_rng(0)
    passages = {}  # each once: the split keeps rows of one passage together
    while len(passages) < 100:
        passages[" ".join(rng.choice(WORDS, 4))] = " ".join(rng.choice(WORDS, 3))
    with (folder.parent / "rows.jsonl").open("w") as file:
        for b, a in passages.items():
            file.write(json.dumps({"a": a, "b": b, "label": "yes" if "good" in a else "no"}) + "\n")
    return folder
