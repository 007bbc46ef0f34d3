"""ViT (Dosovitskiy et al. 2021), which reads an image patch by patch; CLIP (Radford et al. 2021), an image and a text
tower whose outputs are projected into one space.

The convolution that reads the patches does not overlap itself: as (d, channels * side * side) it is the linear map that
each patch goes through.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from eigensweep.models.families.rules import (
    Dims,
    Family,
    Part,
    Rule,
    convolution,
    embedding,
    flags,
    heads,
    in_tower,
    linear,
    norm,
    sizes,
    vector,
)

_BLOCKS = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_IMAGES = {"image_size": 224, "num_channels": 3}
_TOKEN = "a learned token, no linear map"


def _image_dims(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    side = config["patch_size"]
    sides = config["image_size"] // side
    found = {"channels": config["num_channels"], "side": side, "positions": sides * sides + 1}
    return {f"{prefix}{name}": size for name, size in found.items()}


def _block_dims(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    names = {"blocks": "num_hidden_layers", "d": "hidden_size", "mlp": "intermediate_size"}
    return {f"{prefix}{ours}": config[theirs] for ours, theirs in names.items()}


def _vit_dims(config: Mapping[str, Any]) -> Dims:
    return {
        **flags(config),
        **_block_dims(config),
        **_image_dims(config),
        "qkv_bias": bool(config.get("qkv_bias", True)),
        "pooled": config.get("pooler_output_size") or config["hidden_size"],
        "pixels": config["num_channels"] * config["encoder_stride"] ** 2,
        "one": 1,
    }


_VIT, _ATTENTION = "layers.{b}", "blocks/{b}/attention"


def _token(name: str) -> Rule:
    part = (Part(f"{name}_token"),)
    return Rule(f"embeddings.{name}_token", ("one", "one", "d"), part, "vector", when="optional", reason=_TOKEN)


VIT = Family(
    name="vit",
    model_types=("vit",),
    defaults={**_BLOCKS, **_IMAGES, "patch_size": 16, "encoder_stride": 16},
    dims=_vit_dims,
    rules=(
        _token("cls"),
        _token("mask"),
        *convolution("embeddings.patch_embeddings.projection", "patches", ("d", "channels", "side", "side"), "always"),
        Rule(
            "embeddings.position_embeddings",
            ("one", "positions", "d"),
            (Part("position_embedding/embedding", "position_embedding"),),
            "embedding",
        ),
        *linear(f"{_VIT}.attention.q_proj", f"{_ATTENTION}/query", "query", "d", "d", "qkv_bias"),
        *linear(f"{_VIT}.attention.k_proj", f"{_ATTENTION}/key", "key", "d", "d", "qkv_bias"),
        *linear(f"{_VIT}.attention.v_proj", f"{_ATTENTION}/value", "value", "d", "d", "qkv_bias"),
        *linear(f"{_VIT}.attention.o_proj", f"{_ATTENTION}/output", "attention_output", "d", "d", "always"),
        *norm(f"{_VIT}.layernorm_before", "blocks/{b}/attention_norm", "d", bias=True),
        *linear(f"{_VIT}.mlp.fc1", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "always"),
        *linear(f"{_VIT}.mlp.fc2", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "always"),
        *norm(f"{_VIT}.layernorm_after", "blocks/{b}/mlp_norm", "d", bias=True),
        *norm("layernorm", "final_norm", "d", bias=True),
        *linear("pooler.dense", "pooler", "pooler", "pooled", "d", "optional", when="optional"),
        *convolution("decoder.0", "pixels", ("pixels", "d", "one", "one"), "optional", "optional"),
        *heads("classifier"),
    ),
    renames=(
        (r"vit\.(.*)", r"\1"),
        # as files name it, and torch modules before transformers 5
        (r"encoder\.layer\.(.*)", r"layers.\1"),
        (r"(.*)\.attention\.attention\.(q)uery\.(.*)", r"\1.attention.\2_proj.\3"),
        (r"(.*)\.attention\.attention\.(k)ey\.(.*)", r"\1.attention.\2_proj.\3"),
        (r"(.*)\.attention\.attention\.(v)alue\.(.*)", r"\1.attention.\2_proj.\3"),
        (r"(.*)\.attention\.output\.dense\.(.*)", r"\1.attention.o_proj.\2"),
        (r"(.*)\.intermediate\.dense\.(.*)", r"\1.mlp.fc1.\2"),
        (r"(layers\.\d+)\.output\.dense\.(.*)", r"\1.mlp.fc2.\2"),
    ),
)


def _stack(source: str, path: str, size: str) -> Iterator[Rule]:
    """The blocks of a CLIP tower; `size` begins the names of its sizes."""
    layer, block, d, mlp = f"{source}encoder.layers.{{b}}", f"{path}blocks/{{b}}", f"{size}d", f"{size}mlp"
    shares = {"q_proj": ("query", "query"), "k_proj": ("key", "key"), "v_proj": ("value", "value")}
    shares["out_proj"] = ("output", "attention_output")
    for name, (leaf, role) in shares.items():
        yield from linear(f"{layer}.self_attn.{name}", f"{block}/attention/{leaf}", role, d, d, "always")
    yield from norm(f"{layer}.layer_norm1", f"{block}/attention_norm", d, bias=True)
    yield from linear(f"{layer}.mlp.fc1", f"{block}/mlp/up", "mlp_up", mlp, d, "always")
    yield from linear(f"{layer}.mlp.fc2", f"{block}/mlp/down", "mlp_down", d, mlp, "always")
    yield from norm(f"{layer}.layer_norm2", f"{block}/mlp_norm", d, bias=True)


def _images(source: str = "", path: str = "", size: str = "", when: str = "always") -> tuple[Rule, ...]:
    """The tower that sees. (`pre_layrnorm` is how CLIP spells it.)"""
    tables, d = f"{source}embeddings", f"{size}d"
    side = f"{size}side"
    patches = (d, f"{size}channels", side, side)
    entries = f"{size}positions"
    return (
        vector(f"{tables}.class_embedding", f"{path}cls_token", d, when),
        *convolution(f"{tables}.patch_embedding", f"{path}patches", patches, when=when),
        *embedding(f"{tables}.position_embedding", f"{path}position_embedding", "position_embedding", entries, d, when),
        *norm(f"{source}pre_layrnorm", f"{path}embedding_norm", d, bias=True, when=when),
        *_stack(source, path, size),
        *norm(f"{source}post_layernorm", f"{path}final_norm", d, bias=True, when=when),
        *linear("visual_projection", f"{path}projection", "other", "shared", d, when="optional"),
    )


def _texts(source: str = "", path: str = "", size: str = "", when: str = "always") -> tuple[Rule, ...]:
    """The tower that reads."""
    tables, d = f"{source}embeddings", f"{size}d"
    entries = f"{size}positions"
    return (
        *embedding(f"{tables}.token_embedding", f"{path}embedding", "embedding", "vocab", d, when),
        *embedding(f"{tables}.position_embedding", f"{path}position_embedding", "position_embedding", entries, d, when),
        *_stack(source, path, size),
        *norm(f"{source}final_layer_norm", f"{path}final_norm", d, bias=True, when=when),
        *linear("text_projection", f"{path}projection", "other", "shared", d, when="optional"),
    )


_VISION = {**_BLOCKS, **_IMAGES, "patch_size": 32}
_TEXT = sizes(49408, 512, 2048, 12, 8, max_position_embeddings=77)


def _clip_dims(config: Mapping[str, Any]) -> Dims:
    names = [str(name) for name in config.get("architectures") or ()]
    vision, text = (
        {**usual, **_given(config, key)} for usual, key in ((_VISION, "vision_config"), (_TEXT, "text_config"))
    )
    seeing = bool(names) and all(name.endswith("ForImageClassification") for name in names)
    dims = {
        **flags(config),
        **_block_dims(vision, "vision_"),
        **_image_dims(vision, "vision_"),
        **_block_dims(text, "text_"),
        "text_positions": text["max_position_embeddings"],
        "vocab": text["vocab_size"],
        "shared": config["projection_dim"],
        "text": not seeing,
    }
    return {**dims, "blocks": dims["vision_blocks"], "text_blocks": 0 if seeing else dims["text_blocks"]}


def _given(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    inner = config.get(key) or {}
    return {name: value for name, value in inner.items() if value is not None}


def _one_tower_dims(config: Mapping[str, Any]) -> Dims:
    more = _image_dims(config) if "patch_size" in config else {"positions": config["max_position_embeddings"]}
    shared = {"shared": config["projection_dim"], "vocab": config.get("vocab_size")}
    return {**flags(config), **_block_dims(config), **more, **shared}


CLIP = Family(
    name="clip",
    model_types=("clip",),
    defaults={"projection_dim": 512},
    dims=_clip_dims,
    rules=(
        *in_tower("vision", _images("vision_model.", "vision/", "vision_")),
        *in_tower("text", _texts("text_model.", "text/", "text_", "text")),
        Rule("logit_scale", (), (Part("logit_scale"),), "vector", when="text"),
        *in_tower("vision", heads("classifier", dim="vision_d")),
    ),
)
CLIP_VISION = Family(
    name="clip_vision",
    model_types=("clip_vision_model",),
    defaults={**_VISION, "projection_dim": 512},
    dims=_one_tower_dims,
    rules=_images(),
    renames=((r"vision_model\.(.*)", r"\1"),),
)
CLIP_TEXT = Family(
    name="clip_text",
    model_types=("clip_text_model",),
    defaults={**_TEXT, "projection_dim": 512},
    dims=_one_tower_dims,
    rules=_texts(),
    renames=((r"text_model\.(.*)", r"\1"),),
)

VISIONS = (VIT, CLIP, CLIP_VISION, CLIP_TEXT)
