"""What a config.json says about a transformer, as one flat, hashable record.

Every family that runs here is the same network with other settings: where the norms stand, how positions enter, which
linear layers carry a bias. The configuration classes of transformers read config.json, in every spelling that they
know, and fill in their defaults; nothing of the checkpoint is executed. `validate` refuses what they let through and
the forward pass would silently get wrong.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eigensweep.models.data.text import one_line
from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.layers import ACTIVATIONS, Rope

Config = Mapping[str, Any]

_ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert")
_GATED = ("gemma", "llama", "mistral", "phi3", "qwen2", "qwen3")
_FAMILIES = tuple(sorted((*_ENCODERS, *_GATED, "gpt2", "gpt_neox", "opt")))
_ROPE_NEEDS = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
FULL_ATTENTION = 2**30  # a window wider than any text
MOST_BLOCKS = 10_000
MOST = 2**24  # of every other size: a slip, not a model


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
    decoder_bias: bool = False  # the masked-language head's decoder has a bias of its own, in place of the head's
    dropout: float = 0.0
    attention_dropout: float = 0.0
    classifier_dropout: float = 0.0


def families() -> tuple[str, ...]:
    """The values of `model_type` that have a forward pass."""
    return _FAMILIES


def architecture(config: Config) -> Architecture:
    """Read config.json.

    Args:
      config: the dictionary of config.json; `model_type` names the family.

    Raises:
      CheckpointError: the family has no forward pass here, or a setting is not usable or not supported.
    """
    c = _standardised(config)
    validate(c)
    family: str = c.model_type
    encoder, gated = family in _ENCODERS, family in _GATED
    roberta, gemma = encoder and family != "bert", family == "gemma"
    width, num_heads, num_blocks = c.hidden_size, c.num_attention_heads, c.num_hidden_layers
    head_dim = _head_dim(c)
    # which linear layers have a bias is the class's to say: a setting that it does not know changes nothing
    attention_bias = not gated or (family in ("llama", "qwen3", "gemma") and c.attention_bias)
    mlp_bias = not gated or (family == "llama" and c.mlp_bias)
    if family == "gpt_neox":
        attention_bias = c.attention_bias
    if family == "opt":
        attention_bias = mlp_bias = c.enable_bias
    scale = head_dim**-0.5
    if family == "gpt2" and not c.scale_attn_weights:
        scale = 1.0
    by_depth = family == "gpt2" and c.scale_attn_by_inverse_layer_idx
    offset, positions = _offset(c), c.max_position_embeddings
    activation = getattr(c, _activation_key(c))
    parallel = family == "gpt_neox" and c.use_parallel_residual
    return Architecture(
        family="roberta" if roberta else family,
        causal=not encoder,
        vocab_size=c.vocab_size,
        width=width,
        num_blocks=num_blocks,
        num_heads=num_heads,
        num_kv_heads=c.num_key_value_heads if gated else num_heads,
        head_dim=head_dim,
        mlp_dim=getattr(c, _mlp_key(c)) or 4 * width,
        max_positions=positions - offset if encoder else positions,
        norm_eps=float(getattr(c, _eps_key(c), 1e-5)),
        activation=activation,
        windows=_windows(c),
        attention_scales=tuple(scale / (i + 1 if by_depth else 1) for i in range(num_blocks)),
        tied=c.tie_word_embeddings,
        norm="rms_plus_one" if gemma else "rms" if gated else "layer",
        residual="post" if encoder else "parallel" if parallel else "pre",
        gated=gated,
        qkv_bias=attention_bias or family == "qwen2",
        output_bias=attention_bias,
        mlp_bias=mlp_bias,
        qk_norm=family == "qwen3",
        rope=_rope(c) if gated or family == "gpt_neox" else None,
        position_rows=0 if gated or family == "gpt_neox" else positions + offset * (not encoder),
        position_offset=offset,
        type_rows=c.type_vocab_size if encoder else 0,
        embedding_scale=width**0.5 if gemma else 1.0,
        num_labels=len(c.id2label),
        classifier_dense=roberta,
        mlm_activation="gelu" if roberta or not encoder else activation,
        dropout=float(c.hidden_dropout_prob) if encoder else 0.0,
        attention_dropout=float(c.attention_probs_dropout_prob) if encoder else 0.0,
        classifier_dropout=_classifier_dropout(c) if encoder else 0.0,
    )


def validate(c: Any) -> None:
    """Refuses what the configuration classes of transformers let through: numbers, words and parts of no use here.

    Args:
      c: the configuration, of a family that has a forward pass.

    Raises:
      CheckpointError: names the key of config.json, its value and what was expected.
    """
    gated, encoder = c.model_type in _GATED, c.model_type in _ENCODERS
    sizes = ["vocab_size", "hidden_size", "max_position_embeddings", "num_hidden_layers", _mlp_key(c)]
    sizes += ["num_attention_heads", *(("num_key_value_heads", "head_dim", "sliding_window") if gated else ())]
    least = dict.fromkeys(sizes, 1) | dict.fromkeys(("type_vocab_size", "pad_token_id") if encoder else (), 0)
    for name, lowest in least.items():
        value = getattr(c, name, None)
        if value is not None and (type(value) is not int or not lowest <= value <= MOST):
            raise _wrong(c, name, f"a whole number from {lowest} to {MOST}")
    shares = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout") if encoder else ()
    for name in (_eps_key(c), *shares):
        value = getattr(c, name, None)
        if value is not None and not 0 <= value <= 1:  # NaN, too
            raise _wrong(c, name, "a number from 0 to 1")
    if getattr(c, _activation_key(c)) not in ACTIVATIONS:
        raise _wrong(c, _activation_key(c), f"one of {', '.join(sorted(ACTIVATIONS))}")
    if not gated and c.hidden_size % c.num_attention_heads:
        raise _wrong(c, "num_attention_heads", f"a divisor of the {c.hidden_size} entries")
    if gated and c.num_attention_heads % c.num_key_value_heads:
        raise _wrong(c, "num_key_value_heads", f"a divisor of the {c.num_attention_heads} query heads")
    if encoder and c.max_position_embeddings <= _offset(c):
        raise _wrong(c, "max_position_embeddings", f"more than the {_offset(c)} rows before the first token's")
    usual = {
        "is_causal": True,
        "use_bidirectional_attention": False,
        "add_cross_attention": False,
        "position_embedding_type": "absolute",
        "do_layer_norm_before": True,
        "layer_norm_elementwise_affine": True,
        "_remove_final_layer_norm": False,
        "word_embed_proj_dim": c.hidden_size,
    }
    for name, value in (usual | ({"is_decoder": False, "is_causal": None} if encoder else {})).items():
        if value is not None and getattr(c, name, None) not in (None, value):
            raise CheckpointError(f"config.json: {name} = {getattr(c, name)!r} is not supported for {c.model_type}")
    if c.is_heterogeneous:
        raise CheckpointError("config.json: per_layer_config is not supported")


def _standardised(config: Config) -> Any:
    """The configuration as transformers' own class reads it.

    Raises:
      CheckpointError: no forward pass for the family, or the class refuses a value.
    """
    family = config.get("model_type")
    if family not in _FAMILIES:
        raise CheckpointError(
            f"config.json: no forward pass for model_type {family!r}; there is one for {', '.join(_FAMILIES)}"
        )
    names = config.get("architectures") or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"config.json: architectures = {names!r}: expected a list of class names")
    for name in ("num_hidden_layers", "n_layer"):  # the classes make a list as long as this
        if isinstance(depth := config.get(name), int) and depth > MOST_BLOCKS:
            raise CheckpointError(f"config.json: {name} = {depth}: expected at most {MOST_BLOCKS} blocks")
    from transformers import AutoConfig

    given = {key: value for key, value in config.items() if key not in ("model_type", "dtype", "torch_dtype")}
    try:  # a wrong value makes the library raise whatever its code trips over
        c = AutoConfig.for_model(family, **copy.deepcopy(given))
        if hasattr(c, "rope_parameters"):
            c.standardize_rope_params()  # as its models do: settings that the first pass did not have yet
        return c
    except Exception as error:
        cause = error.__cause__ or error
        said = one_line(error) if str(cause) in str(error) else f"{one_line(error)}: {one_line(cause)}"
        raise CheckpointError(f"config.json: {said}") from error


def _wrong(c: Any, name: str, expected: str) -> CheckpointError:
    key = c.attribute_map.get(name, name)  # as config.json spells it
    return CheckpointError(f"config.json: {key} = {getattr(c, name)!r}: expected {expected}")


def _mlp_key(c: Any) -> str:
    return {"gpt2": "n_inner", "opt": "ffn_dim"}.get(c.model_type, "intermediate_size")


def _eps_key(c: Any) -> str:
    names = {"gpt2": "layer_norm_epsilon", **dict.fromkeys(_GATED, "rms_norm_eps")}
    return names.get(c.model_type, "layer_norm_eps")


def _activation_key(c: Any) -> str:
    return "activation_function" if c.model_type in ("gpt2", "opt") else "hidden_act"


def _head_dim(c: Any) -> int:
    own = getattr(c, "head_dim", None) if c.model_type in _GATED else None
    return own or c.hidden_size // c.num_attention_heads


def _offset(c: Any) -> int:
    """Rows of the position table before the first token's."""
    padding = 1 if c.pad_token_id is None else c.pad_token_id
    return {"opt": 2, "gpt2": 0, "bert": 0}.get(c.model_type, padding + 1 if c.model_type in _ENCODERS else 0)


def _classifier_dropout(c: Any) -> float:
    return float(c.hidden_dropout_prob if c.classifier_dropout is None else c.classifier_dropout)


def _windows(c: Any) -> tuple[int, ...]:
    """How far back each block sees: Mistral and Phi-3 everywhere alike, Qwen by `layer_types`."""
    window = c.sliding_window if c.model_type in ("mistral", "phi3", "qwen2", "qwen3") else None
    slides = [True] * c.num_hidden_layers
    if c.model_type in ("qwen2", "qwen3"):
        slides = [kind == "sliding_attention" for kind in c.layer_types]
        if len(slides) != c.num_hidden_layers or set(c.layer_types) - {"full_attention", "sliding_attention"}:
            raise _wrong(c, "layer_types", "full_attention or sliding_attention for each block")
        if any(slides) and window is None:
            raise _wrong(c, "layer_types", "no sliding_attention without use_sliding_window")
    return tuple(FULL_ATTENTION if window is None or not slide else window for slide in slides)


def _rope(c: Any) -> Rope:
    """The rotary positions, from `rope_parameters` as transformers has standardised them."""
    given, head_dim = c.rope_parameters, _head_dim(c)
    kind = given.get("rope_type")
    known = ("default",) if c.model_type == "phi3" else tuple(_ROPE_NEEDS)
    if any(isinstance(value, Mapping) for value in given.values()) or kind not in known:
        raise CheckpointError(
            f"config.json: rope_type {kind!r} is not supported for {c.model_type}; supported: {', '.join(known)}, the "
            "same for all blocks"
        )
    numbers = {name: given.get(name) for name in ("rope_theta", *_ROPE_NEEDS[kind])}
    numbers["partial_rotary_factor"] = given.get("partial_rotary_factor", 1.0)
    for name, value in numbers.items():
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            raise CheckpointError(f"config.json: {name} = {value!r}: expected a positive number")
    low, high = numbers.get("low_freq_factor", 1.0), numbers.get("high_freq_factor", 4.0)
    if high <= low:
        raise CheckpointError(f"config.json: high_freq_factor = {high}: expected more than low_freq_factor, {low}")
    # part of a head turns in GPT-NeoX and Phi-3; in the others all of it, whatever their config says, or, with a
    # scaling beside it, shapes that do not fit
    fraction, partial = numbers["partial_rotary_factor"], c.model_type in ("gpt_neox", "phi3")
    if fraction > 1 or (fraction != 1 and not partial and kind != "default"):
        expected = "at most 1" if fraction > 1 else f"1 beside rope_type {kind!r}"
        raise CheckpointError(f"config.json: partial_rotary_factor = {fraction}: expected {expected}")
    dim = int(head_dim * fraction) if partial else head_dim
    if dim + dim % 2 > head_dim or dim < 1 or (kind == "dynamic" and dim <= 2):
        raise CheckpointError(
            f"config.json: {dim} rotary entries of {head_dim} a head are not supported for {c.model_type}"
        )
    original = numbers.get("original_max_position_embeddings", c.max_position_embeddings)
    factor = numbers.get("factor", 1.0)
    return Rope(dim, float(numbers["rope_theta"]), kind, float(factor), float(low), float(high), int(original))
