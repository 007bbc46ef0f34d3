"""Mamba 1 and 2 (Gu & Dao 2023, Dao & Gu 2024); Jamba (Lieber et al. 2024), with attention and experts between.

A state-space block projects a token to its input x and a gate z; x passes a short depthwise convolution; the step (dt)
and what is written to (B) and read from (C) the state are projections of x in Mamba 1, of the token itself in Mamba 2.
A_log holds the logarithms of the decay rates of the state, one a channel and state (Mamba 2: a head): a parameter with
two axes, but no linear map, for its exponential multiplies entry by entry.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.families.decoder_blocks import PREFIXES, attention_rules, blocks_of, mlp_rules
from eigensweep.models.families.mixtures import expert_rules, moe_dims, router
from eigensweep.models.families.rules import (
    Dims,
    Family,
    Part,
    Rule,
    convolution,
    embedding,
    flags,
    heads,
    linear,
    norm,
    sizes,
    unembedding,
    vector,
)

_DECAY = "no linear map: the logarithms of the state's decay rates, which act entry by entry"


def _part(path: str, name: str, size: str) -> Part:
    return Part(f"{path}/{name}/kernel", f"ssm_{name}", name, size)


def _convolution(source: str, path: str, channels: str, when: str) -> tuple[Rule, ...]:
    shape = (channels, "one", "taps")
    return convolution(f"{source}.conv1d", f"{path}/convolution", shape, f"{when}_conv_bias", when)


def _mixer(source: str, path: str, when: str) -> tuple[Rule, ...]:
    """The state space of Mamba 1 and Jamba; `when` says where, and `when`_bias, `when`_conv_bias which biases."""
    shares = (("input", "inner"), ("gate", "inner"))
    selective = (("step_latent", "rank"), ("b", "state"), ("c", "state"))
    return (
        Rule(
            f"{source}.in_proj.weight",
            ("2inner", "d"),
            tuple(_part(path, *share) for share in shares),
            "linear",
            when=when,
        ),
        Rule(
            f"{source}.in_proj.bias",
            ("2inner",),
            tuple(Part(f"{path}/{name}/bias", "", name, size) for name, size in shares),
            "vector",
            when=f"{when}_bias",
        ),
        *_convolution(source, path, "inner", when),
        Rule(
            f"{source}.x_proj.weight",
            ("selective", "inner"),
            tuple(_part(path, *share) for share in selective),
            "linear",
            when=when,
        ),
        *linear(f"{source}.dt_proj", f"{path}/step", "ssm_step", "inner", "rank", when, when),
        replace(vector(f"{source}.A_log", f"{path}/A_log", "inner", when), shape=("inner", "state"), reason=_DECAY),
        vector(f"{source}.D", f"{path}/D", "inner", when),
        *linear(f"{source}.out_proj", f"{path}/output", "ssm_output", "d", "inner", f"{when}_bias", when),
    )


def mamba2_rules(source: str, path: str, when: str) -> tuple[Rule, ...]:
    """The state space of Mamba 2, all of whose inputs are projections of the token; `when` as for `_mixer`."""
    shares = (("gate", "inner"), ("input", "inner"), ("b", "state"), ("c", "state"), ("step", "heads"))
    biases = tuple(Part(f"{path}/{name}/bias", "", name, size) for name, size in shares)
    return (
        Rule(f"{source}.in_proj.weight", ("in", "d"), tuple(_part(path, *s) for s in shares), "linear", when=when),
        Rule(f"{source}.in_proj.bias", ("in",), biases, "vector", when=f"{when}_bias"),
        *_convolution(source, path, "conv", when),
        vector(f"{source}.dt_bias", f"{path}/step/offset", "heads", when),
        vector(f"{source}.A_log", f"{path}/A_log", "heads", when),
        vector(f"{source}.D", f"{path}/D", "heads", when),
        *norm(f"{source}.norm", f"{path}/norm", "inner", when=when),
        *linear(f"{source}.out_proj", f"{path}/output", "ssm_output", "d", "inner", f"{when}_bias", when),
    )


def mamba2_sizes(inner: int, state: int, heads: int, taps: int) -> dict[str, Any]:
    """What `mamba2_rules` speaks of; `state` counts all groups."""
    return {
        "inner": inner,
        "state": state,
        "heads": heads,
        "conv": inner + 2 * state,
        "in": 2 * inner + 2 * state + heads,
        "one": 1,
        "taps": taps,
    }


def _rank(config: Mapping[str, Any], key: str) -> int:
    """The rank of the steps; in configs it may be "auto"."""
    rank = config.get(key, "auto")
    return math.ceil(config["hidden_size"] / 16) if rank == "auto" else rank


def _state_dims(inner: int, state: int, rank: int, taps: int) -> dict[str, Any]:
    return {
        "inner": inner,
        "2inner": 2 * inner,
        "state": state,
        "rank": rank,
        "selective": rank + 2 * state,
        "one": 1,
        "taps": taps,
    }


def _mamba_dims(config: Mapping[str, Any]) -> Dims:
    d = config["hidden_size"]
    return {
        **flags(config),
        **_state_dims(
            config["expand"] * d, config["state_size"], _rank(config, "time_step_rank"), config["conv_kernel"]
        ),
        "blocks": config["num_hidden_layers"],
        "vocab": config["vocab_size"],
        "d": d,
        "always_bias": bool(config.get("use_bias")),
        "always_conv_bias": bool(config.get("use_conv_bias", True)),
    }


def _mamba2_dims(config: Mapping[str, Any]) -> Dims:
    dims, state = _mamba_dims({**config, "time_step_rank": 0}), config["n_groups"] * config["state_size"]
    return {**dims, **mamba2_sizes(dims["inner"], state, config["num_heads"], config["conv_kernel"])}


_MIXER, PATH = "layers.{b}.mixer", "blocks/{b}/state_space"
_BEFORE = embedding("embeddings", "embedding", "embedding", "vocab", "d")
_AFTER = (*norm("layers.{b}.norm", "blocks/{b}/norm", "d"), *norm("norm_f", "final_norm", "d"), *unembedding())
_RENAMES = ((r"backbone\.(.*)", r"\1"), (r"embedding\.weight", "embeddings.weight"))

MAMBA = Family(
    name="mamba",
    model_types=("mamba", "falcon_mamba"),
    defaults={
        "vocab_size": 50280,
        "hidden_size": 768,
        "num_hidden_layers": 32,
        "state_size": 16,
        "expand": 2,
        "conv_kernel": 4,
        "tie_word_embeddings": True,
    },
    dims=_mamba_dims,
    rules=(*_BEFORE, *_mixer(_MIXER, PATH, "always"), *_AFTER),
    renames=_RENAMES,
)
MAMBA2 = Family(
    name="mamba2",
    model_types=("mamba2",),
    defaults={
        "vocab_size": 32768,
        "hidden_size": 4096,
        "num_hidden_layers": 64,
        "num_heads": 128,
        "state_size": 128,
        "expand": 2,
        "conv_kernel": 4,
        "n_groups": 8,
        "tie_word_embeddings": False,
    },
    dims=_mamba2_dims,
    rules=(*_BEFORE, *mamba2_rules(_MIXER, PATH, "always"), *_AFTER),
    renames=_RENAMES,
)


def _every(config: Mapping[str, Any], what: str) -> frozenset[int]:
    period, offset = config[f"{what}_layer_period"], config[f"{what}_layer_offset"]
    return frozenset(b for b in blocks_of(config) if b % period == offset)


def _jamba_dims(config: Mapping[str, Any]) -> Dims:
    sparse = _every(config, "expert") if config["num_experts"] > 1 else frozenset()
    dims = moe_dims(config, config["intermediate_size"], sparse)
    attention = _every(config, "attn")
    mamba = frozenset(blocks_of(config)) - attention
    inner, rank = config["mamba_expand"] * dims["d"], _rank(config, "mamba_dt_rank")
    return {
        **dims,
        **_state_dims(inner, config["mamba_d_state"], rank, config["mamba_d_conv"]),
        "full": attention,
        "mamba": mamba,
        "mamba_bias": mamba if config.get("mamba_proj_bias") else frozenset(),
        "mamba_conv_bias": mamba if config.get("mamba_conv_bias", True) else frozenset(),
    }


_MAMBA, _MLP = "layers.{b}.mamba", "layers.{b}.feed_forward"

JAMBA = Family(
    name="jamba",
    model_types=("jamba",),
    defaults={
        **sizes(65536, 4096, 14336, 32, 32, num_key_value_heads=8, num_experts=16, tie_word_embeddings=False),
        "expert_layer_period": 2,
        "attn_layer_period": 8,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
    },
    dims=lambda config: _jamba_dims({"expert_layer_offset": 1, "attn_layer_offset": 4, **config}),
    rules=(
        *embedding("embed_tokens", "embedding", "embedding", "vocab", "d"),
        *attention_rules("full"),
        *_mixer(_MAMBA, PATH, "mamba"),
        *norm(f"{_MAMBA}.dt_layernorm", f"{PATH}/step_latent_norm", "rank", when="mamba"),
        *norm(f"{_MAMBA}.b_layernorm", f"{PATH}/b_norm", "state", when="mamba"),
        *norm(f"{_MAMBA}.c_layernorm", f"{PATH}/c_norm", "state", when="mamba"),
        *mlp_rules(_MLP, when="dense"),
        *router(f"{_MLP}.router"),
        *expert_rules(_MLP),
        *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d"),
        *norm("layers.{b}.pre_ff_layernorm", "blocks/{b}/mlp_norm", "d"),
        *norm("final_layernorm", "final_norm", "d"),
        *unembedding(),
        *heads("score"),
    ),
    renames=PREFIXES,
)

MAMBAS = (MAMBA, MAMBA2, JAMBA)
