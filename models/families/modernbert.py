"""ModernBERT (Warner et al. 2024): norms before attention and MLP, both of which fuse what goes into them.

`Wqkv` holds query, key and value end to end, `Wi` the gated MLP's two: the half that passes through the activation is
our gate, the half that it multiplies our up, as in Llama. (The torch code calls the first `input`, the second `gate`.)
"""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.encoders import masked_head
from eigensweep.models.families.rules import (
    Dims,
    Family,
    Part,
    Rule,
    embedding,
    flags,
    heads,
    linear,
    norm,
    sizes,
    vector,
)


def _dims(config: Mapping[str, Any]) -> Dims:
    d, mlp, blocks = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    return {
        **flags(config),
        "blocks": blocks,
        "vocab": config["vocab_size"],
        "d": d,
        "3d": 3 * d,
        "mlp": mlp,
        "2mlp": 2 * mlp,
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "norm_bias": bool(config.get("norm_bias")),
        "after_first": frozenset(range(1, blocks)),  # the embedding's norm is the first block's
        "after_first_bias": frozenset(range(1, blocks)) if config.get("norm_bias") else frozenset(),
    }


def _norm(source: str, path: str, when: str = "always", bias: str = "norm_bias") -> tuple[Rule, ...]:
    scale = norm(source, path, "d", when=when)
    return (*scale, vector(f"{source}.bias", f"{path}/bias", "d", bias))


def _fused(source: str, path: str, shares: tuple[str, ...], size: str, roles: str, whole: str, bias: str):
    """Rules for shares of one size, laid end to end."""
    weights = tuple(Part(f"{path}/{share}/kernel", roles + share, share, size) for share in shares)
    biases = tuple(Part(f"{path}/{share}/bias", "", share, size) for share in shares)
    return (
        Rule(f"{source}.weight", (whole, "d"), weights, "linear"),
        Rule(f"{source}.bias", (whole,), biases, "vector", when=bias),
    )


_ATTENTION, _MLP = "blocks/{b}/attention", "blocks/{b}/mlp"

MODERNBERT = Family(
    name="modernbert",
    model_types=("modernbert",),
    defaults=sizes(50368, 768, 1152, 22, 12),
    dims=_dims,
    rules=(
        *embedding("embeddings.tok_embeddings", "embedding", "embedding", "vocab", "d"),
        *_norm("embeddings.norm", "embedding_norm"),
        *_norm("layers.{b}.attn_norm", "blocks/{b}/attention_norm", "after_first", "after_first_bias"),
        *_fused("layers.{b}.attn.Wqkv", _ATTENTION, ("query", "key", "value"), "d", "", "3d", "attention_bias"),
        *linear("layers.{b}.attn.Wo", f"{_ATTENTION}/output", "attention_output", "d", "d", "attention_bias"),
        *_norm("layers.{b}.mlp_norm", "blocks/{b}/mlp_norm"),
        *_fused("layers.{b}.mlp.Wi", _MLP, ("gate", "up"), "mlp", "mlp_", "2mlp", "mlp_bias"),
        *linear("layers.{b}.mlp.Wo", f"{_MLP}/down", "mlp_down", "d", "mlp", "mlp_bias"),
        *_norm("final_norm", "final_norm"),
        *masked_head("head.dense", "head.norm", "decoder"),
        *heads("classifier"),
    ),
    renames=((r"model\.(.*)", r"\1"),),
)
