"""T5 (Raffel et al. 2020): an encoder, and a decoder that also attends to it; RMS norms, no biases.

mT5 (Xue et al. 2021) and T5 1.1 have gated MLPs and a head of their own, UMT5 (Chung et al. 2023) relative positions in
every block. The bias of relative positions is a table (distances, heads) of numbers added to scores: no linear map.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.families.rules import (
    Dims,
    Family,
    Part,
    Rule,
    embedding,
    flags,
    heads,
    in_tower,
    linear,
    norm,
    unembedding,
)

_DEFAULTS = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "vocab_size": 32128}
_BUCKETS = "relative_attention_num_buckets"
_SCORES = "no linear map: numbers added to the attention's scores, by distance"


def _dims(config: Mapping[str, Any]) -> dict[str, Any]:
    names = [str(name) for name in config.get("architectures") or ()]
    depth = config.get("num_decoder_layers") or config["num_layers"]
    alone = bool(names) and all("Encoder" in name or "TokenClassification" in name for name in names)
    decoder = 0 if alone else depth
    gated = str(config.get("feed_forward_proj", "relu")).startswith("gated")
    return {
        **flags(config),
        "blocks": config["num_layers"],
        "encoder_blocks": config["num_layers"],
        "decoder_blocks": decoder,
        "decoder": decoder > 0,
        "vocab": config["vocab_size"],
        "d": config["d_model"],
        "inner": config["num_heads"] * config["d_kv"],
        "heads": config["num_heads"],
        "mlp": config["d_ff"],
        "buckets": config[_BUCKETS],
        "gated": gated,
        "plain": not gated,
        "positioned": frozenset({0}),
        # the first versions stored one for the attention to the encoder, which has no positions
        "unused": None,
    }


def _umt5_dims(config: Mapping[str, Any]) -> Dims:
    dims = _dims(config)
    return {**dims, "positioned": frozenset(range(max(dims["encoder_blocks"], dims["decoder_blocks"])))}


def _attention(source: str, path: str) -> tuple[Rule, ...]:
    shares = {"q": ("query", "query"), "k": ("key", "key"), "v": ("value", "value")}
    return (
        *(
            r
            for s, (leaf, role) in shares.items()
            for r in linear(f"{source}.{s}", f"{path}/{leaf}", role, "inner", "d")
        ),
        *linear(f"{source}.o", f"{path}/output", "attention_output", "d", "inner"),
    )


def _positions(source: str, path: str, when: str, reason: str = _SCORES) -> Rule:
    part = Part(f"{path}/relative_position_bias")
    pattern = f"{source}.relative_attention_bias.weight"
    return Rule(pattern, ("buckets", "heads"), (part,), "vector", when=when, reason=reason)


def _stack(tower: str, cross: bool) -> Iterator[Rule]:
    """The rules of one stack; `cross`: it attends to another."""
    source, path = f"{tower}.block.{{b}}.layer", f"{tower}/blocks/{{b}}"
    mlp = 2 if cross else 1
    yield from embedding(f"{tower}.embed_tokens", f"{tower}/embedding", "embedding", "vocab", "d", "optional")
    yield from norm(f"{source}.0.layer_norm", f"{path}/attention_norm", "d")
    yield from _attention(f"{source}.0.SelfAttention", f"{path}/attention")
    yield _positions(f"{source}.0.SelfAttention", f"{path}/attention", "positioned")
    if cross:
        yield from norm(f"{source}.1.layer_norm", f"{path}/cross_attention_norm", "d")
        yield from in_tower(f"{tower}.cross", _attention(f"{source}.1.EncDecAttention", f"{path}/cross_attention"))
        yield _positions(f"{source}.1.EncDecAttention", f"{path}/cross_attention", "unused", "not used by the model")
    yield from norm(f"{source}.{mlp}.layer_norm", f"{path}/mlp_norm", "d")
    for name, leaf, when in (("wi", "up", "plain"), ("wi_0", "gate", "gated"), ("wi_1", "up", "gated")):
        yield from linear(
            f"{source}.{mlp}.DenseReluDense.{name}", f"{path}/mlp/{leaf}", f"mlp_{leaf}", "mlp", "d", when=when
        )
    yield from linear(f"{source}.{mlp}.DenseReluDense.wo", f"{path}/mlp/down", "mlp_down", "d", "mlp")


def _tower(tower: str, cross: bool = False) -> tuple[Rule, ...]:
    final = norm(f"{tower}.final_layer_norm", f"{tower}/final_norm", "d", when="decoder" if cross else "always")
    rules = in_tower(tower, (*_stack(tower, cross), *final))
    return tuple(replace(r, tied_to="embedding/embedding") if ".embed_tokens." in r.pattern else r for r in rules)


_RULES = (
    *embedding("shared", "embedding", "embedding", "vocab", "d"),
    *_tower("encoder"),
    *_tower("decoder", cross=True),
    *in_tower("decoder", unembedding()),
    *linear("classification_head.dense", "classifier/dense", "classifier", "d", "d", "optional", when="optional"),
    *heads("classification_head.out_proj", "classifier", "qa_outputs"),
)
_GATED: dict[str, Any] = {
    **_DEFAULTS,
    **{"d_ff": 1024, "num_layers": 8, "num_heads": 6, "vocab_size": 250112, "feed_forward_proj": "gated-gelu"},
}

T5 = Family(
    name="t5",
    model_types=("t5",),
    defaults={**_DEFAULTS, _BUCKETS: 32},
    dims=_dims,
    rules=_RULES,
    renames=((r"transformer\.(.*)", r"\1"),),
)
MT5 = replace(T5, name="mt5", model_types=("mt5",), defaults={**_GATED, _BUCKETS: 32})
UMT5 = replace(MT5, name="umt5", model_types=("umt5",), dims=_umt5_dims)

T5S = (T5, MT5, UMT5)
