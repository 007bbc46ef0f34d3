"""Decoders with RMS norms and gated MLPs, whose queries may share keys and values.

Llama (Touvron et al. 2023), Mistral, Qwen2, Qwen3; Phi-3 (Abdin et al. 2024), with query, key, value and gate, up
fused end to end; Gemma 1 to 3 (Gemma Team 2024, 2025), the text model, also inside Gemma 3's multimodal wrapper;
Mixtral (Jiang et al. 2024), Qwen2-MoE and Qwen3-MoE, whose MLPs are mixtures of experts.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

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
    unembedding,
)

_RENAMES = ((r"(?:model|transformer)\.(.*)", r"\1"),)


def _decoder_dims(
    config: Mapping[str, Any], *, reads: tuple[str, ...] = (), qkv_bias: bool = False, qk_norm: bool = False
) -> dict[str, Any]:
    """Sizes and flags of a decoder with grouped queries and a gated MLP.

    Args:
      config: complete.
      reads: which of "attention_bias" and "mlp_bias" the family's class in transformers knows. Where it knows them
        not, it ignores them in config.json, and so do we.
      qkv_bias: query, key and value always have biases, the output has none.
      qk_norm: query and key are normed.
    """
    d, num_heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or d // num_heads
    groups = config.get("num_key_value_heads") or num_heads
    biased = {name: name in reads and bool(config.get(name)) for name in ("attention_bias", "mlp_bias")}
    return {
        **flags(config),
        **biased,
        "blocks": config["num_hidden_layers"],
        "vocab": config["vocab_size"],
        "d": d,
        "head": head,
        "heads": num_heads,
        "q": num_heads * head,
        "kv": groups * head,
        "mlp": config["intermediate_size"],
        "qkv_bias": qkv_bias or biased["attention_bias"],
        "qk_norm": qk_norm,
    }


def _attention_rules() -> tuple[Rule, ...]:
    """Attention with separate projections; biases and norms of query and key where the flags say so."""
    source, path = "layers.{b}.self_attn", "blocks/{b}/attention"
    return (
        *linear(f"{source}.q_proj", f"{path}/query", "query", "q", "d", "qkv_bias"),
        *linear(f"{source}.k_proj", f"{path}/key", "key", "kv", "d", "qkv_bias"),
        *linear(f"{source}.v_proj", f"{path}/value", "value", "kv", "d", "qkv_bias"),
        *linear(f"{source}.o_proj", f"{path}/output", "attention_output", "d", "q", "attention_bias"),
        *norm(f"{source}.q_norm", f"{path}/query_norm", "head", when="qk_norm"),
        *norm(f"{source}.k_norm", f"{path}/key_norm", "head", when="qk_norm"),
    )


def _mlp_rules(
    source: str = "layers.{b}.mlp",
    path: str = "blocks/{b}/mlp",
    size: str = "mlp",
    bias: str | None = "mlp_bias",
    when: str = "always",
) -> tuple[Rule, ...]:
    """A gated MLP: down(act(gate x) * up x)."""
    return (
        *linear(f"{source}.gate_proj", f"{path}/gate", "mlp_gate", size, "d", bias, when=when),
        *linear(f"{source}.up_proj", f"{path}/up", "mlp_up", size, "d", bias, when=when),
        *linear(f"{source}.down_proj", f"{path}/down", "mlp_down", "d", size, bias, when=when),
    )


_BEFORE = embedding("embed_tokens", "embedding", "embedding", "vocab", "d")
_BLOCK_NORMS = (
    *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d"),
    *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/mlp_norm", "d"),
)
_AFTER = (*norm("norm", "final_norm", "d"), *unembedding(), *heads("score", "classifier", "qa_outputs"))
_RULES = (*_BEFORE, *_attention_rules(), *_mlp_rules(), *_BLOCK_NORMS, *_AFTER)

_decoder = partial(Family, rules=_RULES, renames=_RENAMES)

LLAMA = _decoder(
    name="llama",
    model_types=("llama",),
    defaults=sizes(32000, 4096, 11008, 32, 32, tie_word_embeddings=False),
    dims=partial(_decoder_dims, reads=("attention_bias", "mlp_bias")),
)
MISTRAL = _decoder(
    name="mistral",
    model_types=("mistral",),
    defaults=sizes(32000, 4096, 14336, 32, 32, num_key_value_heads=8, tie_word_embeddings=False),
    dims=_decoder_dims,
)
QWEN2 = _decoder(
    name="qwen2",
    model_types=("qwen2",),
    defaults=sizes(151936, 4096, 22016, 32, 32, num_key_value_heads=32, tie_word_embeddings=False),
    dims=partial(_decoder_dims, qkv_bias=True),
)
QWEN3 = _decoder(
    name="qwen3",
    model_types=("qwen3",),
    defaults={**QWEN2.defaults, "head_dim": 128},
    dims=partial(_decoder_dims, reads=("attention_bias",), qk_norm=True),
)


def _phi3_dims(config: Mapping[str, Any]) -> Dims:
    dims = _decoder_dims(config)
    return {**dims, "qkv": dims["q"] + 2 * dims["kv"], "2mlp": 2 * dims["mlp"]}


_ATTENTION, _MLP = "layers.{b}.self_attn", "layers.{b}.mlp"
_QKV = tuple(
    Part(f"blocks/{{b}}/attention/{share}/kernel", share, share, size)
    for share, size in (("query", "q"), ("key", "kv"), ("value", "kv"))
)


def _gate_up(path: str, size: str) -> tuple[Part, ...]:
    """Gate and up, fused end to end."""
    return tuple(Part(f"{path}/{share}/kernel", f"mlp_{share}", share, size) for share in ("gate", "up"))


PHI3 = _decoder(
    name="phi3",
    model_types=("phi3",),
    defaults=sizes(32064, 3072, 8192, 32, 32, tie_word_embeddings=False),
    dims=_phi3_dims,
    rules=(
        *_BEFORE,
        Rule(f"{_ATTENTION}.qkv_proj.weight", ("qkv", "d"), _QKV, "linear"),
        *linear(f"{_ATTENTION}.o_proj", "blocks/{b}/attention/output", "attention_output", "d", "q"),
        Rule(f"{_MLP}.gate_up_proj.weight", ("2mlp", "d"), _gate_up("blocks/{b}/mlp", "mlp"), "linear"),
        *linear(f"{_MLP}.down_proj", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp"),
        *_BLOCK_NORMS,
        *_AFTER,
    ),
)

_SANDWICH_NORMS = (
    *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d"),
    *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/attention_post_norm", "d"),
    *norm("layers.{b}.pre_feedforward_layernorm", "blocks/{b}/mlp_norm", "d"),
    *norm("layers.{b}.post_feedforward_layernorm", "blocks/{b}/mlp_post_norm", "d"),
)
_SANDWICH_RULES = (*_BEFORE, *_attention_rules(), *_mlp_rules(), *_SANDWICH_NORMS, *_AFTER)

GEMMA = _decoder(
    name="gemma",
    model_types=("gemma",),
    defaults=sizes(256000, 3072, 24576, 28, 16, num_key_value_heads=16, head_dim=256),
    dims=partial(_decoder_dims, reads=("attention_bias",)),
)
GEMMA2 = _decoder(
    name="gemma2",
    model_types=("gemma2",),
    defaults=sizes(256000, 2304, 9216, 26, 8, num_key_value_heads=4, head_dim=256),
    dims=partial(_decoder_dims, reads=("attention_bias",)),
    rules=_SANDWICH_RULES,
)
GEMMA3 = _decoder(
    name="gemma3",
    model_types=("gemma3_text", "gemma3"),
    defaults={**GEMMA2.defaults, "vocab_size": 262208},
    dims=partial(_decoder_dims, reads=("attention_bias",), qk_norm=True),
    rules=_SANDWICH_RULES,
    renames=((r"language_model\.(?:model\.)?(.*)", r"\1"), (r"model\.language_model\.(.*)", r"\1"), *_RENAMES),
    skips=((r"(?:vision_tower|multi_modal_projector)\..*", "of the vision tower, no part of the text model"),),
    text_config="text_config",
)

# Mixtures of experts. The hub's files hold one tensor an expert and projection; modules of transformers 5 hold them
# stacked, `experts.gate_up_proj` (experts, 2 moe, d), gate first, and `experts.down_proj` (experts, d, moe). Both fill
# the same leaves.
_MOE = "blocks/{b}/moe"
_EXPERT = f"{_MOE}/experts/{{e}}"
_stacked = partial(Rule, layout="linear", stacked=True, when="moe")
_EXPERT_RULES = (
    *linear(f"{_MLP}.gate", f"{_MOE}/router", "other", "experts", "d", when="moe"),
    *_mlp_rules(f"{_MLP}.experts.{{e}}", _EXPERT, "moe_mlp", None, "moe"),
    _stacked(f"{_MLP}.experts.gate_up_proj", ("experts", "2moe_mlp", "d"), _gate_up(_EXPERT, "moe_mlp")),
    _stacked(f"{_MLP}.experts.down_proj", ("experts", "d", "moe_mlp"), (Part(f"{_EXPERT}/down/kernel", "mlp_down"),)),
    *_mlp_rules(f"{_MLP}.shared_expert", f"{_MOE}/shared", "shared_mlp", None, "shared"),
    *linear(f"{_MLP}.shared_expert_gate", f"{_MOE}/shared_gate", "other", "one", "d", when="shared"),
)
_MOE_RULES = (*_BEFORE, *_attention_rules(), *_mlp_rules(when="dense"), *_EXPERT_RULES, *_BLOCK_NORMS, *_AFTER)


def _moe_dims(
    config: Mapping[str, Any], moe_mlp: int, moe: frozenset[int], shared_mlp: int = 0, **options: Any
) -> dict[str, Any]:
    """Sizes of a decoder with experts in the blocks `moe`; no shared expert where `shared_mlp` is 0."""
    dims = _decoder_dims(config, **options)
    return {
        **dims,
        "experts": config.get("num_experts", config.get("num_local_experts")),
        "moe_mlp": moe_mlp,
        "2moe_mlp": 2 * moe_mlp,
        "shared_mlp": shared_mlp,
        "one": 1,
        "moe": moe,
        "dense": frozenset(range(dims["blocks"])) - moe,
        "shared": moe if shared_mlp else frozenset(),
    }


def _mixtral_dims(config: Mapping[str, Any]) -> Dims:
    return _moe_dims(config, config["intermediate_size"], frozenset(range(config["num_hidden_layers"])))


def _sparse_blocks(config: Mapping[str, Any]) -> frozenset[int]:
    step, dense = config.get("decoder_sparse_step", 1), config.get("mlp_only_layers") or ()
    return frozenset(b for b in range(config["num_hidden_layers"]) if b not in dense and (b + 1) % step == 0)


def _qwen2_moe_dims(config: Mapping[str, Any]) -> Dims:
    moe, shared = config["moe_intermediate_size"], config["shared_expert_intermediate_size"]
    biased = bool(config.get("qkv_bias", True))
    return _moe_dims(config, moe, _sparse_blocks(config), shared, qkv_bias=biased)


def _qwen3_moe_dims(config: Mapping[str, Any]) -> Dims:
    moe = config["moe_intermediate_size"]
    return _moe_dims(config, moe, _sparse_blocks(config), reads=("attention_bias",), qk_norm=True)


MIXTRAL = _decoder(
    name="mixtral",
    model_types=("mixtral",),
    defaults=sizes(32000, 4096, 14336, 32, 32, num_key_value_heads=8, num_local_experts=8, tie_word_embeddings=False),
    dims=_mixtral_dims,
    rules=_MOE_RULES,
    renames=(
        *_RENAMES,
        (r"(layers\.\d+)\.block_sparse_moe\.(.*)", r"\1.mlp.\2"),
        (r"(.*\.experts\.\d+)\.w1\.weight", r"\1.gate_proj.weight"),
        (r"(.*\.experts\.\d+)\.w2\.weight", r"\1.down_proj.weight"),
        (r"(.*\.experts\.\d+)\.w3\.weight", r"\1.up_proj.weight"),
    ),
)
QWEN2_MOE = _decoder(
    name="qwen2_moe",
    model_types=("qwen2_moe",),
    defaults={
        **sizes(151936, 2048, 5632, 24, 16, num_key_value_heads=16, tie_word_embeddings=False),
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts": 60,
    },
    dims=_qwen2_moe_dims,
    rules=_MOE_RULES,
)
QWEN3_MOE = _decoder(
    name="qwen3_moe",
    model_types=("qwen3_moe",),
    defaults={
        **sizes(151936, 2048, 6144, 24, 32, num_key_value_heads=4, tie_word_embeddings=False),
        "moe_intermediate_size": 768,
        "num_local_experts": 128,
    },
    dims=_qwen3_moe_dims,
    rules=_MOE_RULES,
)

DECODERS = (LLAMA, MISTRAL, QWEN2, QWEN3, PHI3, GEMMA, GEMMA2, GEMMA3, MIXTRAL, QWEN2_MOE, QWEN3_MOE)
