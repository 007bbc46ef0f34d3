"""Checkpoints of noise with planted spikes: what a sweep of any model's shapes can be tried on, and held against.

Every matrix is Gaussian with planted rank-one spikes, W = sigma X + sum_k theta_k u_k v_k^T, u_k and v_k random and
orthonormal. A spike theta > sigma (m n)^(1/4) shows as the singular value sqrt((theta^2 + m sigma^2)(theta^2 + n
sigma^2)) / theta beyond the edge sigma (sqrt(m) + sqrt(n)) (Benaych-Georges & Nadakuditi 2012, section 3.1).
"""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.families import family_of
from eigensweep.models.families.rules import Family, Rule, sizes
from eigensweep.models.known import model_dims, required_rules
from eigensweep.models.sources.choice import INDEX, WEIGHTS
from eigensweep.models.staging import runs, staged

DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16), "float32": np.dtype(np.float32)}
Wanted = tuple[str, tuple[int, ...], Rule]
"""Stored name, shape and rule of a tensor."""

SIGMA = 0.02
STRENGTHS = (1.25, 1.75, 2.5, 4.0)  # of the spikes, in units of the right edge; taken in turn
PREFIXES = {
    **dict.fromkeys(("gpt2", "falcon", "bloom", "mpt"), "transformer."),
    **dict.fromkeys(("mamba", "mamba2"), "backbone."),
    **{name: f"{name}." for name in ("bert", "roberta", "gpt_neox")},
}  # else "model."
HEADS = ("unembedding/", "mlm/", "classifier/")  # leaves that stand outside the base model
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    **sizes(128256, 4096, 14336, 32, 32, num_key_value_heads=8, tie_word_embeddings=False),
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
}


def write_synthetic(
    out: str | Path,
    config: Mapping[str, Any],
    *,
    seed: int = 0,
    dtype: str = "bfloat16",
    spikes: int = 4,
    shard_bytes: int = 5 * 10**9,
) -> dict[str, list[float]]:
    """Write a checkpoint in Hugging Face layout, shard by shard, at most one shard in memory.

    Args:
      out: a folder that does not exist, or is empty; it appears when it is complete.
      config: as config.json, of a known architecture.
      seed: of all numbers; a tensor's numbers depend on the seed and its name alone.
      dtype: of the weights: bfloat16, float16 or float32.
      spikes: planted in every stored matrix.
      shard_bytes: a new file begins before this is exceeded.

    Returns:
      The planted singular values theta of every stored matrix, by tensor name; also in `out`/planted.json.

    Raises:
      CheckpointError: an unknown architecture, a config without sense, or `out` cannot be written.
    """
    from safetensors.numpy import save_file

    family = family_of(config)
    if family is None:
        raise CheckpointError(f"config: model_type {config.get('model_type')!r} is no known architecture")
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype {dtype!r}: expected one of {', '.join(DTYPES)}")
    itemsize = DTYPES[dtype].itemsize
    tensors = stored_tensors(family, config)
    shards = list(runs(tensors, lambda tensor: math.prod(tensor[1]) * itemsize, shard_bytes))
    planted: dict[str, list[float]] = {}
    index: dict[str, str] = {}
    with staged(out) as folder:
        folder.mkdir()
        for number, shard in enumerate(shards, 1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else WEIGHTS
            arrays = {}
            for name, shape, rule in shard:
                arrays[name], thetas = _values(name, shape, rule, seed, spikes, DTYPES[dtype])
                index[name] = file
                planted |= {name: thetas} if thetas else {}
            save_file(arrays, folder / file, metadata={"format": "pt"})
        if len(shards) > 1:
            (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}))
        (folder / "config.json").write_text(json.dumps(dict(config), indent=1))
        (folder / "planted.json").write_text(json.dumps({"sigma": SIGMA, "seed": seed, "theta": planted}))
    return planted


def spiked_singular_value(theta: float, m: int, n: int, sigma: float = SIGMA) -> float:
    """Where a spike theta > sigma (m n)^(1/4) is seen: sqrt((theta^2 + m sigma^2)(theta^2 + n sigma^2)) / theta."""
    return math.sqrt((theta**2 + m * sigma**2) * (theta**2 + n * sigma**2)) / theta


def stored_tensors(family: Family, config: Mapping[str, Any]) -> Iterator[Wanted]:
    """Name, shape and rule of every tensor that the config asks for; of several ways to store leaves the first."""
    dims = model_dims(family, config, "config")
    prefix = PREFIXES.get(family.name, "model.")
    filled: set[tuple[str, int | None]] = set()
    for rule, block in required_rules(family, dims):
        leaves = {(part.path, block) for part in rule.parts}
        if leaves <= filled:
            continue
        filled |= leaves
        outside = rule.parts[0].path.startswith(HEADS)
        for expert in range(dims["experts"]) if "{e}" in rule.pattern else (None,):
            name = rule.pattern.format(b=block, e=expert)
            yield ("" if outside else prefix) + name, tuple(dims[size] for size in rule.shape), rule


def _values(
    name: str, shape: tuple[int, ...], rule: Rule, seed: int, spikes: int, dtype: np.dtype
) -> tuple[np.ndarray, list[float]]:
    """A tensor's numbers and the singular values planted in it."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if rule.layout == "vector":
        return np.full(shape, 1.0 if rule.parts[0].path.endswith("scale") else 0.0).astype(dtype), []
    w = rng.standard_normal(shape, dtype=np.float32)
    w *= SIGMA
    if len(shape) != 2:
        return w.astype(dtype), []
    m, n = shape
    edge = SIGMA * (math.sqrt(m) + math.sqrt(n))
    thetas = [edge * STRENGTHS[k % len(STRENGTHS)] * (1 + k // len(STRENGTHS)) for k in range(spikes)]
    u, v = (np.linalg.qr(rng.standard_normal((size, spikes), dtype=np.float32))[0] for size in shape)
    u *= np.array(thetas, np.float32)
    for start in range(0, m, 1024):  # never a second matrix of this size
        w[start : start + 1024] += u[start : start + 1024] @ v.T
    return w.astype(dtype), sorted(thetas, reverse=True)
