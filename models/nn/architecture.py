"""What a config.json says about a transformer, as one flat, hashable record.

Every family that runs here is the same network with other settings: where the norms stand, how positions enter, which
linear layers carry a bias. `architecture(config)` reads those settings from the plain dictionary of config.json, in
the spelling of transformers 5 and in older ones, and refuses what the forward pass would silently get wrong.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.activations import ACTIVATIONS

Config = Mapping[str, Any]

_MAX_POSITIONS = {  # where a config does not say
    "llama": 2048,
    "mistral": 131_072,
    "qwen2": 32_768,
    "qwen3": 32_768,
    "phi3": 4096,
    "gemma": 8192,
}
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
    if not isinstance(family, str) or family not in _READERS:
        raise CheckpointError(
            f"config.json: no forward pass for model_type {family!r}; there is one for {', '.join(sorted(_READERS))}"
        )
    _refuse(config, "is_decoder", family in _ENCODERS)
    _refuse(config, "use_bidirectional_attention", family == "gemma")
    if family not in _ENCODERS and not config.get("is_causal", True):
        raise CheckpointError(
            f"config.json: is_causal = {config['is_causal']!r} is not supported for {family}, which runs causally here"
        )
    _refuse(config, "add_cross_attention", True)
    names = config.get("architectures") or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise _wrong("architectures", names, "a list of class names")
    result = _READERS[family](config)
    if result.num_heads % result.num_kv_heads:
        raise CheckpointError(
            f"config.json: {result.num_heads} query heads cannot share {result.num_kv_heads} key/value heads evenly"
        )
    return result


def families() -> tuple[str, ...]:
    """The values of `model_type` that have a forward pass."""
    return tuple(sorted(_READERS))


def _wrong(name: str, value: Any, expected: str) -> CheckpointError:
    return CheckpointError(f"config.json: {name} = {value!r}: expected {expected}")


def _get(config: Config, name: str, default: Any) -> Any:
    """The setting, or the default where it is absent or null."""
    value = config.get(name)
    return default if value is None else value


def _int(config: Config, name: str, default: int | None = None, least: int = 1) -> int:
    """A whole number; one without a default is needed."""
    value = _get(config, name, default)
    if value is None:
        raise CheckpointError(f"config.json: {name!r} is missing, and {config['model_type']} needs it")
    if type(value) is not int or value < least:
        raise _wrong(name, value, f"a whole number of at least {least}")
    return value


def _number(config: Config, name: str, default: float, most: float = math.inf) -> float:
    value = _get(config, name, default)
    if type(value) not in (int, float) or not 0 <= value <= most or math.isinf(value):
        raise _wrong(
            name, value, "a number of at least 0" + (f", at most {most:g}" if most < math.inf else "")
        )
    return float(value)


def _positive(config: Config, name: str, default: float) -> float:
    value = _number(config, name, default)
    if value == 0:
        raise _wrong(name, value, "a positive number")
    return value


def _flag(config: Config, name: str, default: bool) -> bool:
    value = _get(config, name, default)
    if type(value) is not bool:
        raise _wrong(name, value, "true or false")
    return value


def _activation(config: Config, name: str, default: str) -> str:
    value = config.get(name, default)
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise _wrong(name, value, f"one of {', '.join(sorted(ACTIVATIONS))}")
    return value


def _refuse(config: Config, name: str, applies: bool) -> None:
    if applies and config.get(name):
        raise CheckpointError(
            f"config.json: {name} = {config[name]!r} is not supported for {config['model_type']}"
        )


def _head_dim(width: int, num_heads: int) -> int:
    if width % num_heads:
        raise CheckpointError(f"config.json: {num_heads} heads do not divide {width} entries evenly")
    return width // num_heads


def _num_labels(config: Config) -> int:
    labels = config.get("id2label")
    return _int(config, "num_labels", len(labels) if labels and isinstance(labels, Mapping) else 2)


def _rope(config: Config, head_dim: int, max_positions: int) -> Rope:
    """As transformers reads it: `rope_scaling` replaces `rope_parameters`, what is missing there stands at the top."""
    family = config["model_type"]
    neox = family == "gpt_neox"
    source = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    settings = config.get(source) or {}
    if not isinstance(settings, Mapping) or any(isinstance(value, Mapping) for value in settings.values()):
        raise _wrong(source, settings, "one dictionary of settings for all blocks")
    needed = {
        "default": (),
        "linear": ("factor",),
        "dynamic": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    }
    kind = _get(settings, "rope_type", _get(settings, "type", "default"))
    known = ("default",) if family == "phi3" else tuple(needed)
    if not isinstance(kind, str) or kind not in known:
        raise CheckpointError(
            f"config.json: rope_type {kind!r} is not supported for {family}; supported: {', '.join(known)}"
        )
    missing = [name for name in needed[kind] if settings.get(name) is None]
    if missing:
        raise CheckpointError(f"config.json: rope_type {kind!r} needs {', '.join(missing)}")
    low, high = _number(settings, "low_freq_factor", 1.0), _number(settings, "high_freq_factor", 4.0)
    if high <= low:
        raise _wrong("high_freq_factor", high, f"more than low_freq_factor, {low:g}")
    original = max_positions
    if kind == "llama3":
        original = _int(settings, "original_max_position_embeddings", max_positions)
        original = _int(config, "original_max_position_embeddings", original)
    theta = _positive(config, "rotary_emb_base" if neox else "rope_theta", 10_000.0)
    rope = Rope(
        dim=_rotary_dim(config, settings, kind, head_dim),
        theta=_positive(settings, "rope_theta", theta),
        kind=kind,
        factor=_positive(settings, "factor", 1.0),
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_positions=original,
    )
    if rope.dim + rope.dim % 2 > head_dim or (kind == "dynamic" and rope.dim <= 2):
        raise CheckpointError(
            f"config.json: {rope.dim} rotary entries of {head_dim} a head are not supported for {family}"
        )
    return rope


def _rotary_dim(config: Config, settings: Config, kind: str, head_dim: int) -> int:
    """Entries of a head that turn: a part in GPT-NeoX and Phi-3, all in the others, whatever their config says."""
    name, default = (
        ("rotary_pct", 0.25) if config["model_type"] == "gpt_neox" else ("partial_rotary_factor", 1.0)
    )
    fraction = _number(settings, "partial_rotary_factor", _number(config, name, default, most=1), most=1)
    if config["model_type"] in ("gpt_neox", "phi3"):
        return int(head_dim * fraction)
    if kind != "default" and fraction != 1:  # in transformers the shapes do not fit
        raise _wrong("partial_rotary_factor", fraction, f"none beside rope_type {kind!r}")
    return head_dim


def _windows(config: Config, num_blocks: int) -> tuple[int, ...]:
    """How far back each block sees: Mistral and Phi-3 everywhere alike, Qwen by `layer_types` or the last blocks."""
    family, full = config["model_type"], (FULL_ATTENTION,) * num_blocks
    if family in ("llama", "gemma"):
        return full
    slides = [True] * num_blocks
    used = config.get("sliding_window", None if family == "phi3" else 4096) is not None
    if family in ("qwen2", "qwen3"):
        used = used and _flag(config, "use_sliding_window", False)
        first = _int(config, "max_window_layers", 28, least=0)
        slides = [used and i >= first for i in range(num_blocks)]
        kinds = config.get("layer_types")
        if kinds is not None:
            names = ("full_attention", "sliding_attention")
            if (
                not isinstance(kinds, list | tuple)
                or len(kinds) != num_blocks
                or set(map(str, kinds)) - {*names}
            ):
                raise _wrong("layer_types", kinds, f"{' or '.join(names)} for each of {num_blocks} blocks")
            slides = [kind == "sliding_attention" for kind in kinds]
            if any(slides) and not used:
                raise _wrong("layer_types", kinds, "no sliding_attention without use_sliding_window")
    if not used:
        return full
    window = _int(config, "sliding_window", 4096)
    return tuple(window if slide else FULL_ATTENTION for slide in slides)


def _llama(config: Config) -> Architecture:
    """Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma: RMSNorm, rotary positions, a gated MLP."""
    family = config["model_type"]
    width, num_heads = _int(config, "hidden_size"), _int(config, "num_attention_heads")
    num_blocks = _int(config, "num_hidden_layers")
    usual = {"qwen3": 128, "gemma": 256}.get(family)
    head_dim = (
        _int(config, "head_dim", usual) if usual or config.get("head_dim") else _head_dim(width, num_heads)
    )
    bias = _flag(config, "attention_bias", False) and family in ("llama", "qwen3", "gemma")
    gemma = family == "gemma"
    activation = _activation(config, "hidden_act", "gelu_pytorch_tanh" if gemma else "silu")
    max_positions = _int(config, "max_position_embeddings", _MAX_POSITIONS[family])
    return Architecture(
        family=family,
        causal=True,
        vocab_size=_int(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=_int(config, "num_key_value_heads", num_heads),
        head_dim=head_dim,
        mlp_dim=_int(config, "intermediate_size"),
        max_positions=max_positions,
        norm_eps=_number(config, "rms_norm_eps", 1e-5 if family == "phi3" else 1e-6),
        # Gemma's first configs say gelu and mean its approximation
        activation="gelu_pytorch_tanh" if gemma and activation == "gelu" else activation,
        windows=_windows(config, num_blocks),
        attention_scales=(head_dim**-0.5,) * num_blocks,
        tied=_flag(config, "tie_word_embeddings", gemma),
        norm="rms_plus_one" if gemma else "rms",
        gated=True,
        qkv_bias=bias or family == "qwen2",
        output_bias=bias,
        mlp_bias=_flag(config, "mlp_bias", False) and family == "llama",
        qk_norm=family == "qwen3",
        rope=_rope(config, head_dim, max_positions),
        embedding_scale=width**0.5 if gemma else 1.0,
        num_labels=_num_labels(config),
    )


def _gpt2(config: Config) -> Architecture:
    width, num_heads, num_blocks = _int(config, "n_embd"), _int(config, "n_head"), _int(config, "n_layer")
    scale = _head_dim(width, num_heads) ** -0.5 if _flag(config, "scale_attn_weights", True) else 1.0
    by_depth = _flag(config, "scale_attn_by_inverse_layer_idx", False)
    positions = _int(config, "n_positions", 1024)
    return Architecture(
        family="gpt2",
        causal=True,
        vocab_size=_int(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=_head_dim(width, num_heads),
        mlp_dim=_int(config, "n_inner", 4 * width),
        max_positions=positions,
        norm_eps=_number(config, "layer_norm_epsilon", 1e-5),
        activation=_activation(config, "activation_function", "gelu_new"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=tuple(scale / (i + 1 if by_depth else 1) for i in range(num_blocks)),
        tied=_flag(config, "tie_word_embeddings", True),
        position_rows=positions,
        num_labels=_num_labels(config),
    )


def _gpt_neox(config: Config) -> Architecture:
    """GPT-NeoX and Pythia: attention and MLP side by side, part of each head rotary."""
    width, num_heads = _int(config, "hidden_size"), _int(config, "num_attention_heads")
    num_blocks, head_dim = _int(config, "num_hidden_layers"), _head_dim(width, num_heads)
    bias = _flag(config, "attention_bias", True)
    max_positions = _int(config, "max_position_embeddings", 2048)
    return Architecture(
        family="gpt_neox",
        causal=True,
        vocab_size=_int(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=head_dim,
        mlp_dim=_int(config, "intermediate_size"),
        max_positions=max_positions,
        norm_eps=_number(config, "layer_norm_eps", 1e-5),
        activation=_activation(config, "hidden_act", "gelu"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=(head_dim**-0.5,) * num_blocks,
        tied=_flag(config, "tie_word_embeddings", False),
        residual="parallel" if _flag(config, "use_parallel_residual", True) else "pre",
        qkv_bias=bias,
        output_bias=bias,
        rope=_rope(config, head_dim, max_positions),
        num_labels=_num_labels(config),
    )


def _opt(config: Config) -> Architecture:
    width, num_heads = _int(config, "hidden_size"), _int(config, "num_attention_heads")
    num_blocks, positions = _int(config, "num_hidden_layers"), _int(config, "max_position_embeddings", 2048)
    if not _flag(config, "do_layer_norm_before", True) or _int(config, "word_embed_proj_dim", width) != width:
        raise CheckpointError(
            "config.json: OPT with norms after the blocks or projected embeddings is not supported"
        )
    bias = _flag(config, "enable_bias", True)
    return Architecture(
        family="opt",
        causal=True,
        vocab_size=_int(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=_head_dim(width, num_heads),
        mlp_dim=_int(config, "ffn_dim"),
        max_positions=positions,
        norm_eps=1e-5,
        activation=_activation(config, "activation_function", "relu"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=(_head_dim(width, num_heads) ** -0.5,) * num_blocks,
        tied=_flag(config, "tie_word_embeddings", True),
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
    width, num_heads = _int(config, "hidden_size"), _int(config, "num_attention_heads")
    num_blocks = _int(config, "num_hidden_layers")
    rows = _int(config, "max_position_embeddings", 512)
    offset = _int(config, "pad_token_id", 1, least=0) + 1 if roberta else 0
    dropout = _number(config, "hidden_dropout_prob", 0.1, most=1)
    activation = _activation(config, "hidden_act", "gelu")
    return Architecture(
        family="roberta" if roberta else "bert",
        causal=False,
        vocab_size=_int(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=_head_dim(width, num_heads),
        mlp_dim=_int(config, "intermediate_size"),
        max_positions=rows - offset,
        norm_eps=_number(config, "layer_norm_eps", 1e-12),
        activation=activation,
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=(_head_dim(width, num_heads) ** -0.5,) * num_blocks,
        tied=_flag(config, "tie_word_embeddings", True),
        residual="post",
        position_rows=rows,
        position_offset=offset,
        type_rows=_int(config, "type_vocab_size", 2, least=0),
        num_labels=_num_labels(config),
        classifier_dense=roberta,
        mlm_activation="gelu" if roberta else activation,
        dropout=dropout,
        attention_dropout=_number(config, "attention_probs_dropout_prob", 0.1, most=1),
        classifier_dropout=_number(config, "classifier_dropout", dropout, most=1),
    )


_ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert")
_READERS = {
    **dict.fromkeys(_ENCODERS, _bert),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma"), _llama),
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
}
