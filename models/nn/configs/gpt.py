"""Decoders with layer norms and a plain MLP: GPT-2, GPT-NeoX (Pythia), OPT."""

from typing import Any

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.configs.checks import (
    check_activation,
    check_heads_divide,
    check_shares,
    check_sizes,
    check_usual,
    full_windows,
)
from eigensweep.models.nn.configs.rope import read_rope

GPTS = ("gpt2", "gpt_neox", "opt")
_MLP = {"gpt2": "n_inner", "gpt_neox": "intermediate_size", "opt": "ffn_dim"}
_EPS = {"gpt2": "layer_norm_epsilon"}
_ACTIVATION = {"gpt_neox": "hidden_act"}


def read_gpt(c: Any) -> Architecture:
    """The settings of one of these models, from its configuration."""
    family, num_blocks = c.model_type, c.num_hidden_layers
    mlp, eps, activation = _MLP[family], _EPS.get(family, "layer_norm_eps"), _ACTIVATION.get(family)
    activation = activation or "activation_function"
    check_sizes(c, "vocab_size", "hidden_size", "max_position_embeddings", "num_hidden_layers", mlp)
    check_sizes(c, "num_attention_heads")
    check_shares(c, eps)
    check_activation(c, activation)
    check_heads_divide(c)
    check_usual(c, word_embed_proj_dim=c.hidden_size)
    neox = family == "gpt_neox"
    head_dim = c.hidden_size // c.num_attention_heads
    scale = 1.0 if family == "gpt2" and not c.scale_attn_weights else head_dim**-0.5
    by_depth = family == "gpt2" and c.scale_attn_by_inverse_layer_idx
    offset = 2 if family == "opt" else 0
    biased = c.enable_bias if family == "opt" else True
    ropes = (read_rope(c, c.rope_parameters, head_dim),) if neox else ()
    return Architecture(
        family=family,
        causal=True,
        vocab_size=c.vocab_size,
        width=c.hidden_size,
        num_blocks=num_blocks,
        num_heads=c.num_attention_heads,
        num_kv_heads=c.num_attention_heads,
        head_dim=head_dim,
        mlp_dim=getattr(c, mlp) or 4 * c.hidden_size,
        max_positions=c.max_position_embeddings,
        norm_eps=float(getattr(c, eps, 1e-5)),
        activation=getattr(c, activation),
        windows=full_windows(num_blocks),
        attention_scales=tuple(scale / (i + 1 if by_depth else 1) for i in range(num_blocks)),
        tied=c.tie_word_embeddings,
        residual="parallel" if neox and c.use_parallel_residual else "pre",
        qkv_bias=c.attention_bias if neox else biased,
        output_bias=c.attention_bias if neox else biased,
        mlp_bias=biased,
        ropes=ropes,
        block_ropes=(0,) * num_blocks if ropes else (),
        position_rows=0 if neox else c.max_position_embeddings + offset,
        position_offset=offset,
        num_labels=len(c.id2label),
    )
