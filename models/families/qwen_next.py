"""Qwen3-Next and Qwen3.5 (Qwen Team 2025): three blocks of four have linear attention, the fourth a gated softmax.

Linear attention is a gated delta rule (https://arxiv.org/abs/2412.06464): queries, keys and values pass a short
convolution, beta says how much of a state is overwritten and the decay how much of it is kept. Qwen3-Next fuses the
projections head by head, Qwen3.5 end to end. Query and output gate of the softmax blocks are one projection, head by
head.
"""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.decoder_blocks import (
    AFTER,
    ATTENTION,
    BEFORE,
    BLOCK_NORMS,
    MLP,
    PREFIXES,
    blocks_of,
    mlp_rules,
    qk_norms,
)
from eigensweep.models.families.mixtures import SHARED_EXPERT, expert_rules, moe_dims, router, sparse_blocks
from eigensweep.models.families.rules import Dims, Family, Part, Rule, convolution, linear, norm, sizes, vector

_LINEAR, _PATH, _FULL = "layers.{b}.linear_attn", "blocks/{b}/linear_attention", "blocks/{b}/attention"


def _full_blocks(config: Mapping[str, Any]) -> frozenset[int]:
    interval, types = config.get("full_attention_interval", 4), config.get("layer_types")
    if types is None:
        return frozenset(b for b in blocks_of(config) if not (b + 1) % interval)
    return frozenset(b for b, kind in enumerate(types) if kind == "full_attention")


def _dims(config: Mapping[str, Any]) -> Dims:
    dense = not config.get("num_experts")
    sparse = frozenset() if dense else sparse_blocks(config)
    moe, shared = config.get("moe_intermediate_size") or 0, config.get("shared_expert_intermediate_size") or 0
    dims = moe_dims({"intermediate_size": 0, **config}, moe, sparse, shared, reads=("attention_bias",), qk_norm=True)
    full, blocks = _full_blocks(config), frozenset(blocks_of(config))
    keys, values = config["linear_num_key_heads"], config["linear_num_value_heads"]
    key, value = keys * config["linear_key_head_dim"], values * config["linear_value_head_dim"]
    return {
        **dims,
        "full": full,
        "full_bias": full if dims["attention_bias"] else frozenset(),
        "linear": blocks - full,
        "2q": 2 * dims["q"],
        "key_heads": keys,
        "value_heads": values,
        "2value_heads": 2 * values,
        "value_head": config["linear_value_head_dim"],
        "linear_k": key,
        "linear_v": value,
        "qkvz": 2 * (key + value),
        "conv": 2 * key + value,
        "taps": config["linear_conv_kernel_dim"],
    }


def _share(name: str, size: str) -> Part:
    return Part(f"{_PATH}/{name}/kernel", f"linear_{name}", name, size)


def _query_gate(leaf: str) -> tuple[Part, ...]:
    return tuple(
        Part(f"{_FULL}/{name}/{leaf}", role if leaf == "kernel" else "", name, "q")
        for name, role in (("query", "query"), ("gate", "attention_gate"))
    )


_QKV = (_share("query", "linear_k"), _share("key", "linear_k"), _share("value", "linear_v"))
_ATTENTION = (
    Rule(f"{ATTENTION}.q_proj.weight", ("2q", "d"), _query_gate("kernel"), "linear", groups="heads", when="full"),
    Rule(f"{ATTENTION}.q_proj.bias", ("2q",), _query_gate("bias"), "vector", groups="heads", when="full_bias"),
    *linear(f"{ATTENTION}.k_proj", f"{_FULL}/key", "key", "kv", "d", "full_bias", "full"),
    *linear(f"{ATTENTION}.v_proj", f"{_FULL}/value", "value", "kv", "d", "full_bias", "full"),
    *linear(f"{ATTENTION}.o_proj", f"{_FULL}/output", "attention_output", "d", "q", "full_bias", "full"),
    *qk_norms(when="full"),
)
_NEXT_PROJECTIONS = (
    Rule(
        f"{_LINEAR}.in_proj_qkvz.weight",
        ("qkvz", "d"),
        (*_QKV, _share("gate", "linear_v")),
        "linear",
        groups="key_heads",
        when="linear",
    ),
    Rule(
        f"{_LINEAR}.in_proj_ba.weight",
        ("2value_heads", "d"),
        (_share("beta", "value_heads"), _share("decay", "value_heads")),
        "linear",
        groups="key_heads",
        when="linear",
    ),
)
_PROJECTIONS = (
    Rule(f"{_LINEAR}.in_proj_qkv.weight", ("conv", "d"), _QKV, "linear", when="linear"),
    *linear(f"{_LINEAR}.in_proj_z", f"{_PATH}/gate", "linear_gate", "linear_v", "d", when="linear"),
    *linear(f"{_LINEAR}.in_proj_b", f"{_PATH}/beta", "linear_beta", "value_heads", "d", when="linear"),
    *linear(f"{_LINEAR}.in_proj_a", f"{_PATH}/decay", "linear_decay", "value_heads", "d", when="linear"),
)
_LINEAR_ATTENTION = (
    *convolution(f"{_LINEAR}.conv1d", f"{_PATH}/convolution", ("conv", "one", "taps"), when="linear"),
    vector(f"{_LINEAR}.A_log", f"{_PATH}/A_log", "value_heads", "linear"),
    vector(f"{_LINEAR}.dt_bias", f"{_PATH}/decay/bias", "value_heads", "linear"),
    *norm(f"{_LINEAR}.norm", f"{_PATH}/norm", "value_head", when="linear"),
    *linear(f"{_LINEAR}.out_proj", f"{_PATH}/output", "linear_output", "d", "linear_v", when="linear"),
)
_MLPS = (*mlp_rules(when="dense"), *router(f"{MLP}.gate"), *expert_rules(), *SHARED_EXPERT, *BLOCK_NORMS, *AFTER)
_FURTHER = ((r"mtp\..*", "of the head that predicts a further token, which transformers does not read"),)
_HEADS = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "head_dim": 256,
    "tie_word_embeddings": False,
}
_EXPERTS = {"moe_intermediate_size": 512, "shared_expert_intermediate_size": 512}

QWEN3_NEXT = Family(
    name="qwen3_next",
    model_types=("qwen3_next",),
    defaults={**sizes(151936, 2048, 5632, 48, 16, num_key_value_heads=2, num_experts=512), **_HEADS, **_EXPERTS},
    dims=_dims,
    rules=(*BEFORE, *_ATTENTION, *_NEXT_PROJECTIONS, *_LINEAR_ATTENTION, *_MLPS),
    renames=PREFIXES,
    skips=_FURTHER,
)
QWEN3_5 = Family(
    name="qwen3_5",
    model_types=("qwen3_5_text",),
    defaults={**sizes(248320, 4096, 12288, 32, 16, num_key_value_heads=4), **_HEADS},
    dims=_dims,
    rules=(*BEFORE, *_ATTENTION, *_PROJECTIONS, *_LINEAR_ATTENTION, *_MLPS),
    renames=PREFIXES,
    skips=_FURTHER,
)
QWEN3_5_MOE = Family(
    name="qwen3_5_moe",
    model_types=("qwen3_5_moe_text",),
    defaults={
        "vocab_size": 248320,
        "hidden_size": 2048,
        "num_hidden_layers": 40,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "num_experts": 256,
        **_HEADS,
        **_EXPERTS,
    },
    dims=_dims,
    rules=QWEN3_5.rules,
    renames=PREFIXES,
    skips=_FURTHER,
)

QWEN_NEXTS = (QWEN3_NEXT, QWEN3_5, QWEN3_5_MOE)
