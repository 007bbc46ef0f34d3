"""What a config.json says about a transformer, as one flat, hashable record.

Every family that runs here is the same network with other settings: where the norms stand, how positions enter, which
linear layers carry a bias. `architecture(config)` reads those settings from the plain dictionary of config.json, in
the spelling of transformers 5 and in older ones, and refuses what the forward pass would silently get wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eigensweep.models.errors import CheckpointError

Config = Mapping[str, Any]

FULL_ATTENTION = 2**30  # a window wider than any text


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al. 2021): the first `dim` entries of each head turn with the position."""

    dim: int
    theta: float
    kind: str = "default"  # default, linear, dynamic, llama3
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 0


@dataclass(frozen=True)
class Architecture:
    """The settings of one transformer. Sizes count entries; `width` is the residual stream's."""

    family: str
    causal: bool
    vocab_size: int
    width: int
    num_blocks: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp_dim: int
    max_positions: int
    norm_eps: float
    activation: str
    windows: tuple[int, ...]  # a block's attention reaches this many tokens back, itself included
    attention_scales: tuple[float, ...]  # one a block, multiplies q . k
    tied: bool  # the unembedding is the embedding
    norm: str = "layer"  # layer, rms, rms_plus_one (Gemma: the scale is stored less one)
    residual: str = "pre"  # pre, parallel, post
    gated: bool = False
    qkv_bias: bool = True
    output_bias: bool = True
    mlp_bias: bool = True
    qk_norm: bool = False
    rope: Rope | None = None
    position_rows: int = 0  # rows of the learned position table, 0 without one
    position_offset: int = 0  # the first token's row in it
    type_rows: int = 0
    embedding_scale: float = 1.0
    num_labels: int = 2
    classifier_dense: bool = False  # RoBERTa's two-layer head in place of pooler and output
    mlm_activation: str = "gelu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    classifier_dropout: float = 0.0


def architecture(config: Config) -> Architecture:
    """Read config.json.

    Args:
      config: the dictionary of config.json; `model_type` names the family.

    Raises:
      CheckpointError: the family has no forward pass here, or a setting is missing or not supported.
    """
    family = config.get("model_type")
    if family not in _READERS:
        raise CheckpointError(
            f"config.json: no forward pass for model_type {family!r}; there is one for {', '.join(sorted(_READERS))}"
        )
    _refuse(config, "is_decoder", family in _ENCODERS)
    _refuse(config, "add_cross_attention", True)
    result = _READERS[family](config)
    if result.num_heads % result.num_kv_heads:
        raise CheckpointError(
            f"config.json: {result.num_heads} query heads cannot share {result.num_kv_heads} key/value heads evenly"
        )
    return result


def families() -> tuple[str, ...]:
    """The values of `model_type` that have a forward pass."""
    return tuple(sorted(_READERS))


def _need(config: Config, name: str) -> Any:
    value = config.get(name)
    if value is None:
        raise CheckpointError(f"config.json: {name!r} is missing, and {config['model_type']} needs it")
    return value


def _get(config: Config, name: str, default: Any) -> Any:
    """The setting, or the default where it is absent or null."""
    value = config.get(name)
    return default if value is None else value


def _refuse(config: Config, name: str, applies: bool) -> None:
    if applies and config.get(name):
        raise CheckpointError(
            f"config.json: {name} = {config[name]!r} is not supported for {config['model_type']}"
        )


def _num_labels(config: Config) -> int:
    labels = config.get("id2label")
    return int(_get(config, "num_labels", len(labels) if labels else 2))


def _rope(config: Config, head_dim: int, fraction: float = 1.0) -> Rope:
    settings = dict(_get(config, "rope_parameters", _get(config, "rope_scaling", {})))
    theta = _get(
        settings, "rope_theta", _get(config, "rope_theta", _get(config, "rotary_emb_base", 10_000.0))
    )
    fraction = _get(config, "partial_rotary_factor", _get(config, "rotary_pct", fraction))
    fraction = _get(settings, "partial_rotary_factor", fraction)
    kind = _get(settings, "rope_type", _get(settings, "type", "default"))
    needed = {
        "default": (),
        "linear": ("factor",),
        "dynamic": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    }
    if kind not in needed:
        raise CheckpointError(f"config.json: rope_type {kind!r} is not supported; {', '.join(needed)} are")
    missing = [name for name in needed[kind] if settings.get(name) is None]
    if missing:
        raise CheckpointError(f"config.json: rope_type {kind!r} needs {', '.join(missing)}")
    original = settings.get("original_max_position_embeddings") if kind == "llama3" else None
    return Rope(
        dim=int(head_dim * fraction),
        theta=float(theta),
        kind=kind,
        factor=float(_get(settings, "factor", 1.0)),
        low_freq_factor=float(_get(settings, "low_freq_factor", 1.0)),
        high_freq_factor=float(_get(settings, "high_freq_factor", 4.0)),
        original_max_positions=int(original or _get(config, "max_position_embeddings", 2048)),
    )


def _windows(config: Config, num_blocks: int) -> tuple[int, ...]:
    """How far back each block sees: Mistral and Phi-3 everywhere alike, Qwen by `layer_types` or the last blocks."""
    family = config["model_type"]
    window = config.get("sliding_window", None if family == "phi3" else 4096)
    if window is None or not _get(config, "use_sliding_window", family in ("mistral", "phi3")):
        return (FULL_ATTENTION,) * num_blocks
    first = _get(config, "max_window_layers", 28) if family in ("qwen2", "qwen3") else 0
    slides = [i >= first for i in range(num_blocks)]
    if config.get("layer_types"):
        slides = [kind == "sliding_attention" for kind in config["layer_types"]]
    return tuple(int(window) if slide else FULL_ATTENTION for slide in slides)


def _llama(config: Config) -> Architecture:
    """Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma: RMSNorm, rotary positions, a gated MLP."""
    family = config["model_type"]
    width, num_heads = _need(config, "hidden_size"), _need(config, "num_attention_heads")
    num_blocks = _need(config, "num_hidden_layers")
    head_dim = _get(config, "head_dim", 128 if family == "qwen3" else width // num_heads)
    bias = bool(config.get("attention_bias", False)) and family in ("llama", "qwen3", "gemma")
    gemma = family == "gemma"
    activation = _get(config, "hidden_activation", "gelu_pytorch_tanh") if gemma else None
    return Architecture(
        family=family,
        causal=True,
        vocab_size=_need(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=_get(config, "num_key_value_heads", num_heads),
        head_dim=head_dim,
        mlp_dim=_need(config, "intermediate_size"),
        max_positions=_get(config, "max_position_embeddings", 2048),
        norm_eps=_get(config, "rms_norm_eps", 1e-6),
        activation=activation or _get(config, "hidden_act", "silu"),
        windows=_windows(config, num_blocks),
        attention_scales=(head_dim**-0.5,) * num_blocks,
        tied=bool(_get(config, "tie_word_embeddings", gemma)),
        norm="rms_plus_one" if gemma else "rms",
        gated=True,
        qkv_bias=bias or family == "qwen2",
        output_bias=bias,
        mlp_bias=bool(config.get("mlp_bias", False)) and family == "llama",
        qk_norm=family == "qwen3",
        rope=_rope(config, head_dim),
        embedding_scale=width**0.5 if gemma else 1.0,
        num_labels=_num_labels(config),
    )


def _gpt2(config: Config) -> Architecture:
    width, num_heads, num_blocks = _need(config, "n_embd"), _need(config, "n_head"), _need(config, "n_layer")
    scale = (width // num_heads) ** -0.5 if _get(config, "scale_attn_weights", True) else 1.0
    by_depth = bool(config.get("scale_attn_by_inverse_layer_idx", False))
    positions = _get(config, "n_positions", 1024)
    return Architecture(
        family="gpt2",
        causal=True,
        vocab_size=_need(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=width // num_heads,
        mlp_dim=_get(config, "n_inner", 4 * width),
        max_positions=positions,
        norm_eps=_get(config, "layer_norm_epsilon", 1e-5),
        activation=_get(config, "activation_function", "gelu_new"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=tuple(scale / (i + 1 if by_depth else 1) for i in range(num_blocks)),
        tied=bool(_get(config, "tie_word_embeddings", True)),
        position_rows=positions,
        num_labels=_num_labels(config),
    )


def _gpt_neox(config: Config) -> Architecture:
    """GPT-NeoX and Pythia: attention and MLP side by side, part of each head rotary."""
    width, num_heads = _need(config, "hidden_size"), _need(config, "num_attention_heads")
    num_blocks, head_dim = _need(config, "num_hidden_layers"), width // num_heads
    bias = bool(_get(config, "attention_bias", True))
    return Architecture(
        family="gpt_neox",
        causal=True,
        vocab_size=_need(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=head_dim,
        mlp_dim=_need(config, "intermediate_size"),
        max_positions=_get(config, "max_position_embeddings", 2048),
        norm_eps=_get(config, "layer_norm_eps", 1e-5),
        activation=_get(config, "hidden_act", "gelu"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=(head_dim**-0.5,) * num_blocks,
        tied=bool(_get(config, "tie_word_embeddings", False)),
        residual="parallel" if _get(config, "use_parallel_residual", True) else "pre",
        qkv_bias=bias,
        output_bias=bias,
        rope=_rope(config, head_dim, fraction=0.25),
        num_labels=_num_labels(config),
    )


def _opt(config: Config) -> Architecture:
    width, num_heads = _need(config, "hidden_size"), _need(config, "num_attention_heads")
    num_blocks, positions = _need(config, "num_hidden_layers"), _get(config, "max_position_embeddings", 2048)
    if not _get(config, "do_layer_norm_before", True) or _get(config, "word_embed_proj_dim", width) != width:
        raise CheckpointError(
            "config.json: OPT with norms after the blocks or projected embeddings is not supported"
        )
    bias = bool(_get(config, "enable_bias", True))
    return Architecture(
        family="opt",
        causal=True,
        vocab_size=_need(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=width // num_heads,
        mlp_dim=_need(config, "ffn_dim"),
        max_positions=positions,
        norm_eps=1e-5,
        activation=_get(config, "activation_function", "relu"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=((width // num_heads) ** -0.5,) * num_blocks,
        tied=bool(_get(config, "tie_word_embeddings", True)),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        position_rows=positions + 2,  # two rows stand before the first token's
        position_offset=2,
        num_labels=_num_labels(config),
    )


def _bert(config: Config) -> Architecture:
    """BERT and RoBERTa: norms after the residual sums, learned positions, token types."""
    kind = _get(config, "position_embedding_type", "absolute")
    if kind != "absolute":
        raise CheckpointError(
            f"config.json: position_embedding_type {kind!r} is not supported; 'absolute' is"
        )
    roberta = config["model_type"] != "bert"
    width, num_heads = _need(config, "hidden_size"), _need(config, "num_attention_heads")
    num_blocks = _need(config, "num_hidden_layers")
    rows = _get(config, "max_position_embeddings", 512)
    offset = _get(config, "pad_token_id", 1) + 1 if roberta else 0
    dropout = _get(config, "hidden_dropout_prob", 0.1)
    activation = _get(config, "hidden_act", "gelu")
    return Architecture(
        family="roberta" if roberta else "bert",
        causal=False,
        vocab_size=_need(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=width // num_heads,
        mlp_dim=_need(config, "intermediate_size"),
        max_positions=rows - offset,
        norm_eps=_get(config, "layer_norm_eps", 1e-12),
        activation=activation,
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=((width // num_heads) ** -0.5,) * num_blocks,
        tied=bool(_get(config, "tie_word_embeddings", True)),
        residual="post",
        position_rows=rows,
        position_offset=offset,
        type_rows=_get(config, "type_vocab_size", 2),
        num_labels=_num_labels(config),
        classifier_dense=roberta,
        mlm_activation="gelu" if roberta else activation,
        dropout=dropout,
        attention_dropout=_get(config, "attention_probs_dropout_prob", 0.1),
        classifier_dropout=_get(config, "classifier_dropout", dropout),
    )


_ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert")
_READERS = {
    **dict.fromkeys(_ENCODERS, _bert),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma"), _llama),
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
}
