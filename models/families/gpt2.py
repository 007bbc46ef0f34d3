"""GPT-2 (Radford et al. 2019). Its Conv1D layers store (in, out); query, key and value lie side by side."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.rules import (
    Dims,
    Family,
    Part,
    Rule,
    embedding,
    flags,
    heads,
    norm,
    unembedding,
    vector,
)


def _dims(config: Mapping[str, Any]) -> Dims:
    d = config["n_embd"]
    return {
        **flags(config),
        "blocks": config["n_layer"],
        "vocab": config["vocab_size"],
        "positions": config["n_positions"],
        "d": d,
        "3d": 3 * d,
        "mlp": config.get("n_inner") or 4 * d,
    }


def _conv1d(source: str, path: str, role: str, out: str, inp: str) -> tuple[Rule, ...]:
    weight = Rule(f"{source}.weight", (inp, out), (Part(f"{path}/kernel", role),), "conv1d")
    return (weight, vector(f"{source}.bias", f"{path}/bias", out))


def _fused(leaf: str, roles: bool) -> tuple[Part, ...]:
    return tuple(
        Part(f"blocks/{{b}}/attention/{share}/{leaf}", share if roles else "", share, "d")
        for share in ("query", "key", "value")
    )


GPT2 = Family(
    name="gpt2",
    model_types=("gpt2",),
    defaults={"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
    dims=_dims,
    rules=(
        *embedding("wte", "embedding", "embedding", "vocab", "d"),
        *embedding("wpe", "position_embedding", "position_embedding", "positions", "d"),
        *norm("h.{b}.ln_1", "blocks/{b}/attention_norm", "d", bias=True),
        Rule("h.{b}.attn.c_attn.weight", ("d", "3d"), _fused("kernel", True), "conv1d"),
        Rule("h.{b}.attn.c_attn.bias", ("3d",), _fused("bias", False), "vector"),
        *_conv1d("h.{b}.attn.c_proj", "blocks/{b}/attention/output", "attention_output", "d", "d"),
        *norm("h.{b}.ln_2", "blocks/{b}/mlp_norm", "d", bias=True),
        *_conv1d("h.{b}.mlp.c_fc", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d"),
        *_conv1d("h.{b}.mlp.c_proj", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp"),
        *norm("ln_f", "final_norm", "d", bias=True),
        *unembedding(),
        *heads("score", "classifier", "qa_outputs", "multiple_choice_head.summary"),
    ),
    renames=((r"transformer\.(.*)", r"\1"),),
)
