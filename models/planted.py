"""A small checkpoint with a tokenizer of words, in which known circuits read and write known clusters of tokens.

The words of a cluster share a direction e_c of the embedding, and of the unembedding: their rows are
RADIUS (x + APART e_c), x standard normal, all other rows RADIUS x; the e_c are orthonormal and have mean zero. A
planted direction of a circuit is s u v^T. What is written is u = e_c/g_f, with g_f the gain of the final norm; what is
read is v = e_c behind the norm, so that the weights hold v/g. The first sign's cluster has the larger score. All else
is Gaussian noise.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.models.checkpoint import Checkpoint, open_checkpoint
from eigensweep.models.errors import CheckpointError
from eigensweep.models.families import family_of
from eigensweep.models.matrix import Matrix
from eigensweep.models.sources.choice import WEIGHTS
from eigensweep.models.staging import staged
from eigensweep.models.synth import stored_tensors

LAYOUTS = ("gpt2", "llama")
WIDTH, HEADS, GROUPS, BLOCKS, NEURONS, VOCABULARY = 128, 4, 2, 2, 256, 1024
NOISE, RADIUS, APART = 0.01, 0.05, 11.0
SECOND = 0.7  # of the negative pole of a direction, the positive one being 1
CLUSTERS = {
    name: words.split()
    for name, words in {
        "fire": "fire flame burning heat smoke ash ember spark",
        "water": "water river lake rain ocean wave stream flood",
        "animals": "dog cat horse cow sheep wolf fox bear",
        "colours": "red green blue yellow purple orange brown grey",
        "family": "mother father sister brother uncle aunt cousin daughter",
        "days": "monday tuesday wednesday thursday friday saturday sunday weekday",
        "months": "january february march april june july august october",
        "music": "song piano violin drum melody guitar opera choir",
        "numbers": "one two three four five six seven eight",
        "food": "bread butter cheese soup rice apple salad sugar",
        "body": "arm leg hand foot head knee elbow shoulder",
        "tools": "hammer saw chisel drill pliers wrench anvil file",
    }.items()
}
Poles = tuple[str | None, str | None]
"""The clusters at the positive and at the negative end of a direction."""


@dataclass(frozen=True)
class Plant:
    """One planted direction: s u v^T in a circuit, `left` the clusters of u, `right` those of v."""

    circuit: str
    index: int
    s: float
    left: Poles | None = None
    right: Poles | None = None


PLANTS = (
    Plant("block.0.head.1.ov", 1, 0.6, ("water", None), ("fire", None)),
    Plant("block.0.head.1.ov", 2, 0.4, ("colours", None), (None, "animals")),
    Plant("block.1.head.3.ov", 1, 0.5, ("days", "months"), ("family", None)),
    Plant("block.1.head.0.qk", 1, 0.5, ("tools", None), ("body", None)),
    Plant("block.0.mlp_in", 1, 0.9, None, ("music", None)),
    Plant("block.0.mlp_out", 1, 0.8, ("numbers", None), None),
    Plant("block.1.mlp_in", 1, 0.9, None, ("food", "body")),
    Plant("block.1.mlp_in", 2, 0.6, None, ("numbers", None)),
    Plant("block.1.mlp_out", 1, 0.8, ("family", None), None),
    Plant("block.1.mlp_out", 2, 0.55, ("tools", "animals"), None),
)
"""Neurons of an MLP fall into two halves: the first reads and writes for index 1, the second for index 2."""


def write_planted(out: str | Path, layout: str = "gpt2", *, seed: int = 0) -> tuple[Plant, ...]:
    """Write the checkpoint with its tokenizer, and planted.json, which says what is where.

    Args:
      out: a folder that does not exist, or is empty; it appears when it is complete.
      layout: "gpt2" (fused, biased, tied) or "llama" (grouped queries, gates, an unembedding of its own).
      seed: of all numbers.

    Returns:
      What is planted.

    Raises:
      CheckpointError: another layout, or `out` cannot be written.
    """
    from safetensors.numpy import save_file

    if layout not in LAYOUTS:
        raise CheckpointError(f"layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
    rng, config, words = np.random.default_rng(seed), _config(layout), _vocabulary(seed)
    arrays = _noise(config, rng)
    checkpoint = open_checkpoint(arrays, config=config)
    centres = _centres(rng)
    _put(checkpoint, arrays, {"embedding/embedding": _rows(words, centres, rng).T})
    if layout == "llama":
        _put(checkpoint, arrays, {"unembedding/kernel": _rows(words, centres, rng)})
    plants = _plants(layout)
    for circuit, group in groupby(plants, lambda plant: plant.circuit):
        _plant(checkpoint, arrays, circuit, list(group), centres, rng)
    with staged(out) as folder:
        folder.mkdir()
        save_file(arrays, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        write_word_tokenizer(folder, words)
        said = {"seed": seed, "clusters": CLUSTERS, "directions": [_said(plant) for plant in plants]}
        (folder / "planted.json").write_text(json.dumps(said, indent=1))
    return plants


def _config(layout: str) -> dict[str, Any]:
    if layout == "gpt2":
        sizes = {"n_embd": WIDTH, "n_layer": BLOCKS, "n_head": HEADS, "n_inner": NEURONS, "n_positions": 64}
        own = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", **sizes, "tie_word_embeddings": True}
    else:
        sizes = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS}
        more = {"num_key_value_heads": GROUPS, "intermediate_size": NEURONS, "max_position_embeddings": 64}
        own = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **sizes, **more}
        own |= {"tie_word_embeddings": False, "hidden_act": "silu", "rms_norm_eps": 1e-5}
    return {**own, "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 1, "torch_dtype": "float32"}


def _plants(layout: str) -> tuple[Plant, ...]:
    """With a gate for every MLP that reads, where there are gates; a circuit's own side by side."""
    gates = [replace(p, circuit=p.circuit.replace("mlp_in", "mlp_gate")) for p in PLANTS if "mlp_in" in p.circuit]
    return (*PLANTS, *gates) if layout == "llama" else PLANTS


def _vocabulary(seed: int) -> list[str]:
    """Special tokens, the words of the clusters, and words that mean nothing."""
    rng, words = np.random.default_rng([seed, 1]), ["<unk>", "<s>", *(w for ws in CLUSTERS.values() for w in ws)]
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    known = set(words)
    while len(words) < VOCABULARY:
        word = "".join(rng.choice(syllables, 3))
        if word not in known:
            words.append(word)
            known.add(word)
    return words


def _noise(config: Mapping[str, Any], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every tensor that the config asks for: noise, gains of norms about one."""
    family = family_of(config)
    assert family is not None
    arrays = {}
    for name, shape, rule in stored_tensors(family, config):
        gain = rule.layout == "vector" and rule.parts[0].path.endswith("scale")
        values = rng.standard_normal(shape, np.float32)
        arrays[name] = 1 + np.float32(0.1) * values if gain else np.float32(NOISE) * values
    return arrays


def _centres(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """e_c of every cluster: orthonormal, each with mean zero, so that a LayerNorm leaves them alone."""
    columns = rng.standard_normal((WIDTH, len(CLUSTERS)))
    basis = np.linalg.qr(columns - columns.mean(0))[0]
    return dict(zip(CLUSTERS, basis.T, strict=True))


def _rows(words: list[str], centres: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A table (vocabulary, d) in which the words of a cluster share its centre."""
    rows = rng.standard_normal((len(words), WIDTH))
    for name, members in CLUSTERS.items():
        rows[[words.index(word) for word in members]] += APART * centres[name]
    return RADIUS * rows


def _direction(poles: Poles, centres: Mapping[str, np.ndarray]) -> np.ndarray:
    positive, negative = poles
    vector = centres[positive] if positive else np.zeros(WIDTH)
    return vector - (SECOND if positive else 1.0) * centres[negative] if negative else vector


def _basis(poles: list[Poles], centres: Mapping[str, np.ndarray], gain: np.ndarray) -> np.ndarray:
    """(d, k) orthonormal: centres over a gain, the first as it is, each further one made orthogonal to those before."""
    columns = np.stack([_direction(pole, centres) / gain for pole in poles], axis=1)
    basis, triangle = np.linalg.qr(columns)
    return basis * np.sign(np.diag(triangle))


def _plant(
    checkpoint: Checkpoint,
    arrays: dict[str, np.ndarray],
    circuit: str,
    plants: list[Plant],
    centres: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> None:
    """Add s u v^T of every plant of one circuit to the matrices that it is made of."""
    block, kind, count = circuit.split(".")[1], circuit.split(".")[-1], len(plants)
    gain = _leaf(checkpoint, f"blocks/{block}/{'mlp' if kind.startswith('mlp') else 'attention'}_norm/scale")

    def read(side: str) -> np.ndarray:
        return (_basis([getattr(plant, side) for plant in plants], centres, np.ones(WIDTH)) / gain[:, None]).T

    def written() -> np.ndarray:
        return _basis([plant.left or (None, None) for plant in plants], centres, _leaf(checkpoint, "final_norm/scale"))

    s = np.array([plant.s for plant in plants])
    if kind.startswith("mlp"):
        # neurons that share a weight stay on one side of the activation together, so the direction acts as a whole
        halves = np.kron(np.eye(2), np.ones((NEURONS // 2, 1)))[:, :count] / np.sqrt(NEURONS / 2)
        name = {"mlp_in": "up", "mlp_gate": "gate", "mlp_out": "down"}[kind]
        added = written() * s @ halves.T if kind == "mlp_out" else halves * s @ read("right")
        return _put(checkpoint, arrays, {f"blocks/{block}/mlp/{name}/kernel": added}, add=True)
    inner = np.linalg.qr(rng.standard_normal((WIDTH // HEADS, count)))[0] * np.sqrt(s)  # (head_dim, k), of both factors
    if kind == "ov":
        shares = {"value": inner @ read("right"), "output": written() @ inner.T}
    else:
        shares = {"query": inner @ read("left"), "key": inner @ read("right")}
    matrices = {matrix.path: matrix for matrix in checkpoint.matrices}
    for name, share in shares.items():
        leaf = f"blocks/{block}/attention/{name}/kernel"
        _put(checkpoint, arrays, {leaf: _in_head(matrices[leaf], int(circuit.split(".")[3]), share)}, add=True)


def _in_head(matrix: Matrix, head: int, share: np.ndarray) -> np.ndarray:
    """A whole matrix that is zero but for one head's share; of keys and values, for that of its group."""
    whole, size = np.zeros(matrix.shape), WIDTH // HEADS
    columns = matrix.role == "attention_output"
    heads = matrix.shape[1 if columns else 0] // size
    at = slice(head * heads // HEADS * size, (head * heads // HEADS + 1) * size)
    whole[(slice(None), at) if columns else at] = share
    return whole


def _leaf(checkpoint: Checkpoint, path: str) -> np.ndarray:
    return next(leaf for leaf in checkpoint.leaves if leaf.path == path).read().astype(np.float64)


def _put(
    checkpoint: Checkpoint, arrays: dict[str, np.ndarray], new: Mapping[str, np.ndarray], add: bool = False
) -> None:
    """Put matrices W (m, n), by the paths of their leaves, into the stored tensors, or add them to what is there."""
    for matrix in checkpoint.matrices:
        if matrix.path in new:
            whole = new[matrix.path] + (matrix.read() if add else 0)
            cut = checkpoint.plan.cuts[matrix.name]
            cut.put_matrix(arrays[cut.tensor.name], whole.astype(np.float32))


def _said(plant: Plant) -> dict[str, Any]:
    """A plant for planted.json."""
    sides = {
        side: poles and dict(zip(("positive", "negative"), poles, strict=True))
        for side, poles in (("left", plant.left), ("right", plant.right))
    }
    return asdict(plant) | sides


def write_word_tokenizer(folder: Path, words: list[str]) -> None:
    """A fast tokenizer into `folder`: one token a word, set apart by spaces; <unk> and <s> are among the words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    model = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>", bos_token="<s>").save_pretrained(folder)
