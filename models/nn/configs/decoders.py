"""Decoders with RMS norms and gated MLPs: Llama's kin, Phi-3, OLMo 2 and 3, Gemma 1 to 3, and mixtures of experts."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.architecture import FULL_ATTENTION, Architecture
from eigensweep.models.nn.configs.checks import check_activation, check_shares, check_sizes, check_usual, wrong
from eigensweep.models.nn.configs.rope import read_rope
from eigensweep.models.nn.rope import Rope

_MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe")
_SANDWICHES = ("gemma2", "gemma3_text")
_GEMMAS = ("gemma", *_SANDWICHES)
_OLMOS = ("olmo2", "olmo3")
DECODERS = ("llama", "mistral", "phi3", "qwen2", "qwen3", *_OLMOS, *_GEMMAS, *_MIXTURES)
# which linear layers have a bias is the class's to say: a setting that it does not know changes nothing
_READS_ATTENTION_BIAS = ("llama", "qwen3", "qwen3_moe", *_OLMOS, *_GEMMAS)
_ALWAYS_SLIDE = ("mistral", "mixtral", "phi3", "qwen3_moe")
_SLIDE_BY_TYPE = ("olmo3", "qwen2", "qwen2_moe", "qwen3", *_SANDWICHES)
_ROPE_BY_TYPE = ("gemma3_text", "olmo3")  # full and sliding attention have rotary positions of their own
_QK_NORMS = {**dict.fromkeys(("gemma3_text", "qwen3", "qwen3_moe"), "head"), **dict.fromkeys(_OLMOS, "whole")}


def read_decoder(c: Any) -> Architecture:
    """The settings of one of these models, from its configuration."""
    family, num_blocks = c.model_type, c.num_hidden_layers
    activation = "hidden_activation" if family in _SANDWICHES else "hidden_act"
    window = getattr(c, "sliding_window", None)
    if family == "qwen2_moe":  # its class writes 0 where nothing slides
        window = c.sliding_window = c.sliding_window or None
    check_sizes(c, "vocab_size", "hidden_size", "max_position_embeddings", "num_hidden_layers", "intermediate_size")
    check_sizes(c, "num_attention_heads", "num_key_value_heads", "head_dim", "sliding_window", "query_pre_attn_scalar")
    check_shares(c, "rms_norm_eps")
    check_activation(c, activation)
    if c.num_attention_heads % c.num_key_value_heads:
        raise wrong(c, "num_key_value_heads", f"a divisor of the {c.num_attention_heads} query heads")
    check_usual(c)
    gemma, sandwich = family in _GEMMAS, family in _SANDWICHES
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    bias = family in _READS_ATTENTION_BIAS and c.attention_bias
    slides = _slides(c, window)
    ropes, block_ropes = _ropes(c, head_dim, slides)
    return Architecture(
        family=family,
        causal=True,
        vocab_size=c.vocab_size,
        width=c.hidden_size,
        num_blocks=num_blocks,
        num_heads=c.num_attention_heads,
        num_kv_heads=c.num_key_value_heads,
        head_dim=head_dim,
        mlp_dim=c.intermediate_size,
        max_positions=c.max_position_embeddings,
        norm_eps=float(c.rms_norm_eps),
        activation=getattr(c, activation),
        windows=tuple(window if slide and window else FULL_ATTENTION for slide in slides),
        attention_scales=((c.query_pre_attn_scalar if sandwich else head_dim) ** -0.5,) * num_blocks,
        tied=c.tie_word_embeddings,
        norm="rms_plus_one" if gemma else "rms",
        residual="sandwich" if sandwich else "output" if family in _OLMOS else "pre",
        gated=True,
        qkv_bias=bias or family == "qwen2" or (family == "qwen2_moe" and c.qkv_bias),
        output_bias=bias,
        mlp_bias=family == "llama" and c.mlp_bias,
        qk_norm=_QK_NORMS.get(family, ""),
        ropes=ropes,
        block_ropes=block_ropes,
        embedding_scale=c.hidden_size**0.5 if gemma else 1.0,
        attention_cap=_cap(c, "attn_logit_softcapping"),
        logit_cap=_cap(c, "final_logit_softcapping"),
        num_labels=len(c.id2label),
        **(_experts(c) if family in _MIXTURES else {}),
    )


def _slides(c: Any, window: int | None) -> list[bool]:
    """Which blocks see no further back than the window: everywhere alike, or by `layer_types`."""
    if c.model_type not in _SLIDE_BY_TYPE:
        return [c.model_type in _ALWAYS_SLIDE and window is not None] * c.num_hidden_layers
    slides = [kind == "sliding_attention" for kind in c.layer_types]
    if len(slides) != c.num_hidden_layers or set(c.layer_types) - {"full_attention", "sliding_attention"}:
        raise wrong(c, "layer_types", "full_attention or sliding_attention for each block")
    if any(slides) and window is None:
        raise wrong(c, "layer_types", "no sliding_attention without use_sliding_window")
    return slides


def _ropes(c: Any, head_dim: int, slides: list[bool]) -> tuple[tuple[Rope, ...], tuple[int, ...]]:
    """The kinds of rotary positions, and which of them each block takes."""
    if c.model_type not in _ROPE_BY_TYPE:
        return (read_rope(c, c.rope_parameters, head_dim),), (0,) * len(slides)
    kinds = ("full_attention", "sliding_attention")
    return tuple(read_rope(c, c.rope_parameters.get(kind), head_dim) for kind in kinds), tuple(map(int, slides))


def _cap(c: Any, name: str) -> float:
    """A soft cap; 0 where there is none. Only Gemma's second and third generation know them."""
    value = getattr(c, name, None) if c.model_type in _SANDWICHES else None
    if value is None:
        return 0.0
    if type(value) not in (int, float) or not 0 < value < 1e30:
        raise wrong(c, name, "a positive number or null")
    # the class of Gemma 3 has no cap on its scores, whatever the config says
    return 0.0 if c.model_type == "gemma3_text" and name == "attn_logit_softcapping" else float(value)


def _experts(c: Any) -> Mapping[str, Any]:
    """The settings of a mixture of experts."""
    mixtral = c.model_type == "mixtral"
    check_sizes(c, "num_experts", "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size")
    check_sizes(c, "decoder_sparse_step")
    if c.num_experts_per_tok > c.num_experts:
        raise wrong(c, "num_experts_per_tok", f"at most the {c.num_experts} experts")
    dense, step = ((), 1) if mixtral else (c.mlp_only_layers, c.decoder_sparse_step)
    if c.num_experts > 10_000 or any(type(block) is not int for block in dense):
        raise CheckpointError("config.json: num_experts or mlp_only_layers: expected at most 10000, and block numbers")
    return {
        "num_experts": c.num_experts,
        "experts_per_token": c.num_experts_per_tok,
        "expert_dim": c.intermediate_size if mixtral else c.moe_intermediate_size,
        "shared_dim": c.shared_expert_intermediate_size if c.model_type == "qwen2_moe" else 0,
        "norm_routes": mixtral or c.norm_topk_prob,
        "expert_blocks": tuple(b not in dense and (b + 1) % step == 0 for b in range(c.num_hidden_layers)),
    }
