"""What a config.json says about a transformer, as one flat, hashable record.

Every family that runs here is the same network with other settings: where the norms stand, how positions enter, which
linear layers carry a bias. `architecture(config)` reads those settings from the plain dictionary of config.json, in
the spelling of transformers 5 and in older ones, and refuses what the forward pass would silently get wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn import settings as read
from eigensweep.models.nn.rope import Rope, read_rope
from eigensweep.models.nn.settings import Config

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
    read.refuse(config, "is_decoder", family in _ENCODERS)
    read.refuse(config, "use_bidirectional_attention", family == "gemma")
    if family not in _ENCODERS and not config.get("is_causal", True):
        raise CheckpointError(
            f"config.json: is_causal = {config['is_causal']!r} is not supported for {family}, which runs causally here"
        )
    read.refuse(config, "add_cross_attention", True)
    names = config.get("architectures") or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise read.wrong("architectures", names, "a list of class names")
    result = _READERS[family](config)
    if result.num_heads % result.num_kv_heads:
        raise CheckpointError(
            f"config.json: {result.num_heads} query heads cannot share {result.num_kv_heads} key/value heads evenly"
        )
    return result


def families() -> tuple[str, ...]:
    """The values of `model_type` that have a forward pass."""
    return tuple(sorted(_READERS))


def _head_dim(width: int, num_heads: int) -> int:
    if width % num_heads:
        raise CheckpointError(f"config.json: {num_heads} heads do not divide {width} entries evenly")
    return width // num_heads


def _num_labels(config: Config) -> int:
    labels = config.get("id2label")
    return read.integer(config, "num_labels", len(labels) if labels and isinstance(labels, Mapping) else 2)


def _windows(config: Config, num_blocks: int) -> tuple[int, ...]:
    """How far back each block sees: Mistral and Phi-3 everywhere alike, Qwen by `layer_types` or the last blocks."""
    family, full = config["model_type"], (FULL_ATTENTION,) * num_blocks
    if family in ("llama", "gemma"):
        return full
    slides = [True] * num_blocks
    used = config.get("sliding_window", None if family == "phi3" else 4096) is not None
    if family in ("qwen2", "qwen3"):
        used = used and read.flag(config, "use_sliding_window", False)
        first = read.integer(config, "max_window_layers", 28, least=0)
        slides = [used and i >= first for i in range(num_blocks)]
        kinds = config.get("layer_types")
        if kinds is not None:
            names = ("full_attention", "sliding_attention")
            if (
                not isinstance(kinds, list | tuple)
                or len(kinds) != num_blocks
                or set(map(str, kinds)) - {*names}
            ):
                raise read.wrong(
                    "layer_types", kinds, f"{' or '.join(names)} for each of {num_blocks} blocks"
                )
            slides = [kind == "sliding_attention" for kind in kinds]
            if any(slides) and not used:
                raise read.wrong("layer_types", kinds, "no sliding_attention without use_sliding_window")
    if not used:
        return full
    window = read.integer(config, "sliding_window", 4096)
    return tuple(window if slide else FULL_ATTENTION for slide in slides)


def _llama(config: Config) -> Architecture:
    """Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma: RMSNorm, rotary positions, a gated MLP."""
    family = config["model_type"]
    width, num_heads = (
        read.integer(config, "hidden_size"),
        read.integer(config, "num_attention_heads"),
    )
    num_blocks = read.integer(config, "num_hidden_layers")
    usual = {"qwen3": 128, "gemma": 256}.get(family)
    head_dim = (
        read.integer(config, "head_dim", usual)
        if usual or config.get("head_dim")
        else _head_dim(width, num_heads)
    )
    bias = read.flag(config, "attention_bias", False) and family in ("llama", "qwen3", "gemma")
    gemma = family == "gemma"
    activation = read.activation(config, "hidden_act", "gelu_pytorch_tanh" if gemma else "silu")
    max_positions = read.integer(config, "max_position_embeddings", _MAX_POSITIONS[family])
    return Architecture(
        family=family,
        causal=True,
        vocab_size=read.integer(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=read.integer(config, "num_key_value_heads", num_heads),
        head_dim=head_dim,
        mlp_dim=read.integer(config, "intermediate_size"),
        max_positions=max_positions,
        norm_eps=read.number(config, "rms_norm_eps", 1e-5 if family == "phi3" else 1e-6),
        # Gemma's first configs say gelu and mean its approximation
        activation="gelu_pytorch_tanh" if gemma and activation == "gelu" else activation,
        windows=_windows(config, num_blocks),
        attention_scales=(head_dim**-0.5,) * num_blocks,
        tied=read.flag(config, "tie_word_embeddings", gemma),
        norm="rms_plus_one" if gemma else "rms",
        gated=True,
        qkv_bias=bias or family == "qwen2",
        output_bias=bias,
        mlp_bias=read.flag(config, "mlp_bias", False) and family == "llama",
        qk_norm=family == "qwen3",
        rope=read_rope(config, head_dim, max_positions),
        embedding_scale=width**0.5 if gemma else 1.0,
        num_labels=_num_labels(config),
    )


def _gpt2(config: Config) -> Architecture:
    width, num_heads, num_blocks = (
        read.integer(config, "n_embd"),
        read.integer(config, "n_head"),
        read.integer(config, "n_layer"),
    )
    scale = _head_dim(width, num_heads) ** -0.5 if read.flag(config, "scale_attn_weights", True) else 1.0
    by_depth = read.flag(config, "scale_attn_by_inverse_layer_idx", False)
    positions = read.integer(config, "n_positions", 1024)
    return Architecture(
        family="gpt2",
        causal=True,
        vocab_size=read.integer(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=_head_dim(width, num_heads),
        mlp_dim=read.integer(config, "n_inner", 4 * width),
        max_positions=positions,
        norm_eps=read.number(config, "layer_norm_epsilon", 1e-5),
        activation=read.activation(config, "activation_function", "gelu_new"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=tuple(scale / (i + 1 if by_depth else 1) for i in range(num_blocks)),
        tied=read.flag(config, "tie_word_embeddings", True),
        position_rows=positions,
        num_labels=_num_labels(config),
    )


def _gpt_neox(config: Config) -> Architecture:
    """GPT-NeoX and Pythia: attention and MLP side by side, part of each head rotary."""
    width, num_heads = (
        read.integer(config, "hidden_size"),
        read.integer(config, "num_attention_heads"),
    )
    num_blocks, head_dim = read.integer(config, "num_hidden_layers"), _head_dim(width, num_heads)
    bias = read.flag(config, "attention_bias", True)
    max_positions = read.integer(config, "max_position_embeddings", 2048)
    return Architecture(
        family="gpt_neox",
        causal=True,
        vocab_size=read.integer(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=head_dim,
        mlp_dim=read.integer(config, "intermediate_size"),
        max_positions=max_positions,
        norm_eps=read.number(config, "layer_norm_eps", 1e-5),
        activation=read.activation(config, "hidden_act", "gelu"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=(head_dim**-0.5,) * num_blocks,
        tied=read.flag(config, "tie_word_embeddings", False),
        residual="parallel" if read.flag(config, "use_parallel_residual", True) else "pre",
        qkv_bias=bias,
        output_bias=bias,
        rope=read_rope(config, head_dim, max_positions),
        num_labels=_num_labels(config),
    )


def _opt(config: Config) -> Architecture:
    width, num_heads = (
        read.integer(config, "hidden_size"),
        read.integer(config, "num_attention_heads"),
    )
    num_blocks, positions = (
        read.integer(config, "num_hidden_layers"),
        read.integer(config, "max_position_embeddings", 2048),
    )
    if (
        not read.flag(config, "do_layer_norm_before", True)
        or read.integer(config, "word_embed_proj_dim", width) != width
    ):
        raise CheckpointError(
            "config.json: OPT with norms after the blocks or projected embeddings is not supported"
        )
    bias = read.flag(config, "enable_bias", True)
    return Architecture(
        family="opt",
        causal=True,
        vocab_size=read.integer(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=_head_dim(width, num_heads),
        mlp_dim=read.integer(config, "ffn_dim"),
        max_positions=positions,
        norm_eps=1e-5,
        activation=read.activation(config, "activation_function", "relu"),
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=(_head_dim(width, num_heads) ** -0.5,) * num_blocks,
        tied=read.flag(config, "tie_word_embeddings", True),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        position_rows=positions + 2,  # two rows stand before the first token's
        position_offset=2,
        num_labels=_num_labels(config),
    )


def _bert(config: Config) -> Architecture:
    """BERT and RoBERTa: norms after the residual sums, learned positions, token types."""
    kind = read.get(config, "position_embedding_type", "absolute")
    if kind != "absolute":
        raise CheckpointError(
            f"config.json: position_embedding_type {kind!r} is not supported; 'absolute' is"
        )
    roberta = config["model_type"] != "bert"
    width, num_heads = (
        read.integer(config, "hidden_size"),
        read.integer(config, "num_attention_heads"),
    )
    num_blocks = read.integer(config, "num_hidden_layers")
    rows = read.integer(config, "max_position_embeddings", 512)
    offset = read.integer(config, "pad_token_id", 1, least=0) + 1 if roberta else 0
    dropout = read.number(config, "hidden_dropout_prob", 0.1, most=1)
    activation = read.activation(config, "hidden_act", "gelu")
    return Architecture(
        family="roberta" if roberta else "bert",
        causal=False,
        vocab_size=read.integer(config, "vocab_size"),
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=_head_dim(width, num_heads),
        mlp_dim=read.integer(config, "intermediate_size"),
        max_positions=rows - offset,
        norm_eps=read.number(config, "layer_norm_eps", 1e-12),
        activation=activation,
        windows=(FULL_ATTENTION,) * num_blocks,
        attention_scales=(_head_dim(width, num_heads) ** -0.5,) * num_blocks,
        tied=read.flag(config, "tie_word_embeddings", True),
        residual="post",
        position_rows=rows,
        position_offset=offset,
        type_rows=read.integer(config, "type_vocab_size", 2, least=0),
        num_labels=_num_labels(config),
        classifier_dense=roberta,
        mlm_activation="gelu" if roberta else activation,
        dropout=dropout,
        attention_dropout=read.number(config, "attention_probs_dropout_prob", 0.1, most=1),
        classifier_dropout=read.number(config, "classifier_dropout", dropout, most=1),
    )


_ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert")
_READERS = {
    **dict.fromkeys(_ENCODERS, _bert),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma"), _llama),
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
}
