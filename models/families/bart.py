"""BART (Lewis et al. 2020), mBART and Whisper (Radford et al. 2023): an encoder, and a decoder that attends to it.

Blocks with layer norms and biases. Whisper's encoder hears through two convolutions; its keys have no biases.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from eigensweep.models.families.rules import (
    Dims,
    Family,
    Rule,
    convolution,
    embedding,
    flags,
    heads,
    in_tower,
    linear,
    norm,
    unembedding,
)


def _dims(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **flags(config),
        "blocks": config["encoder_layers"],
        "encoder_blocks": config["encoder_layers"],
        "decoder_blocks": config["decoder_layers"],
        "vocab": config["vocab_size"],
        "d": config["d_model"],
        "encoder_mlp": config["encoder_ffn_dim"],
        "decoder_mlp": config["decoder_ffn_dim"],
    }


def _attention(source: str, path: str, key_bias: str | None) -> tuple[Rule, ...]:
    return (
        *linear(f"{source}.q_proj", f"{path}/query", "query", "d", "d", "always"),
        *linear(f"{source}.k_proj", f"{path}/key", "key", "d", "d", key_bias),
        *linear(f"{source}.v_proj", f"{path}/value", "value", "d", "d", "always"),
        *linear(f"{source}.out_proj", f"{path}/output", "attention_output", "d", "d", "always"),
        *norm(f"{source}_layer_norm", f"{path}_norm", "d", bias=True),
    )


def _blocks(tower: str, cross: bool, key_bias: str | None) -> tuple[Rule, ...]:
    """The blocks of one stack; `cross`: it attends to another."""
    source, path = f"{tower}.layers.{{b}}", f"{tower}/blocks/{{b}}"
    other = in_tower(f"{tower}.cross", _attention(f"{source}.encoder_attn", f"{path}/cross_attention", key_bias))
    return (
        *_attention(f"{source}.self_attn", f"{path}/attention", key_bias),
        *(other if cross else ()),
        *linear(f"{source}.fc1", f"{path}/mlp/up", "mlp_up", f"{tower}_mlp", "d", "always"),
        *linear(f"{source}.fc2", f"{path}/mlp/down", "mlp_down", "d", f"{tower}_mlp", "always"),
        *norm(f"{source}.final_layer_norm", f"{path}/mlp_norm", "d", bias=True),
    )


def _positions(tower: str, entries: str) -> tuple[Rule, ...]:
    path = f"{tower}/position_embedding"
    return embedding(f"{tower}.embed_positions", path, "position_embedding", entries, "d")


def _bart_dims(config: Mapping[str, Any]) -> Dims:
    return {**_dims(config), "positions": config["max_position_embeddings"] + 2}  # the first two are padding


def _bart_tower(tower: str, final: bool, cross: bool = False) -> tuple[Rule, ...]:
    (again,) = embedding(f"{tower}.embed_tokens", f"{tower}/embedding", "embedding", "vocab", "d", "optional")
    rules = (
        replace(again, tied_to="embedding/embedding"),
        *_positions(tower, "positions"),
        *norm(f"{tower}.layernorm_embedding", f"{tower}/embedding_norm", "d", bias=True),
        *_blocks(tower, cross, "always"),
        *(norm(f"{tower}.layer_norm", f"{tower}/final_norm", "d", bias=True) if final else ()),
    )
    return in_tower(tower, rules)


def _bart_rules(final: bool) -> tuple[Rule, ...]:
    return (
        *embedding("shared", "embedding", "embedding", "vocab", "d"),
        *_bart_tower("encoder", final),
        *_bart_tower("decoder", final, cross=True),
        *in_tower("decoder", unembedding()),
        *linear("classification_head.dense", "classifier/dense", "classifier", "d", "d", "optional", when="optional"),
        *heads("classification_head.out_proj", "qa_outputs"),
    )


_SIZES = {"encoder_layers": 12, "decoder_layers": 12, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "d_model": 1024}

BART = Family(
    name="bart",
    model_types=("bart",),
    defaults={**_SIZES, "vocab_size": 50265, "max_position_embeddings": 1024},
    dims=_bart_dims,
    rules=_bart_rules(final=False),
    renames=((r"model\.(.*)", r"\1"),),
    skips=((r"final_logits_bias", "a buffer of numbers added to the logits, no parameter"),),
)
MBART = replace(BART, name="mbart", model_types=("mbart",), rules=_bart_rules(final=True))


def _whisper_dims(config: Mapping[str, Any]) -> Dims:
    return {
        **_dims(config),
        "mel": config["num_mel_bins"],
        "heard": config["max_source_positions"],
        "spoken": config["max_target_positions"],
        "taps": 3,
        "classes": config["classifier_proj_size"],
    }


_final = partial(norm, size="d", bias=True)

WHISPER = Family(
    name="whisper",
    model_types=("whisper",),
    defaults={
        **_SIZES,
        **{"encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536, "d_model": 384},
        **{"vocab_size": 51865, "num_mel_bins": 80, "max_source_positions": 1500, "max_target_positions": 448},
        "classifier_proj_size": 256,
    },
    dims=_whisper_dims,
    rules=(
        *in_tower(
            "encoder",
            (
                *convolution("encoder.conv1", "encoder/convolution_1", ("d", "mel", "taps"), "always"),
                *convolution("encoder.conv2", "encoder/convolution_2", ("d", "d", "taps"), "always"),
                *_positions("encoder", "heard"),
                *_blocks("encoder", False, None),
                *_final("encoder.layer_norm", "encoder/final_norm"),
                *linear("projector", "projector", "other", "classes", "d", "optional", when="optional"),
                *heads("classifier", dim="classes"),
            ),
        ),
        *in_tower(
            "decoder",
            (
                *embedding("decoder.embed_tokens", "embedding", "embedding", "vocab", "d"),
                *_positions("decoder", "spoken"),
                *_blocks("decoder", True, None),
                *_final("decoder.layer_norm", "decoder/final_norm"),
                *unembedding("proj_out"),
            ),
        ),
    ),
    renames=((r"model\.(.*)", r"\1"),),
)

BARTS = (BART, MBART, WHISPER)
