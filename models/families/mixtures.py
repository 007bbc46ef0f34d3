"""Mixtures of experts: Mixtral (Jiang et al. 2024), Qwen2-MoE, Qwen3-MoE, OLMoE (Muennighoff et al. 2024).

The hub's files hold one tensor an expert and projection; modules of transformers 5 hold them stacked,
`experts.gate_up_proj` (experts, 2 moe, d), gate first, and `experts.down_proj` (experts, d, moe). Both fill the same
leaves.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from eigensweep.models.families.decoder_blocks import (
    AFTER,
    BEFORE,
    BLOCK_NORMS,
    MLP,
    PREFIXES,
    attention_rules,
    blocks_of,
    decoder_dims,
    gate_up,
    mlp_rules,
    qk_norms,
)
from eigensweep.models.families.rules import Dims, Family, Part, Rule, heads, linear, norm, sizes, unembedding, vector

_MOE = "blocks/{b}/moe"
_EXPERT = f"{_MOE}/experts/{{e}}"


def turned_expert_rules(source: str = MLP) -> tuple[Rule, ...]:
    """The experts of the blocks `moe` stacked (experts, in, out), gate and up end to end."""
    stacked = partial(Rule, layout="conv1d", stacked=True, when="moe")
    down = (Part(f"{_EXPERT}/down/kernel", "mlp_down"),)
    return (
        stacked(f"{source}.experts.gate_up_proj", ("experts", "d", "2moe_mlp"), gate_up(_EXPERT, "moe_mlp")),
        stacked(f"{source}.experts.down_proj", ("experts", "moe_mlp", "d"), down),
    )


def expert_rules(source: str = MLP) -> tuple[Rule, ...]:
    """The experts of the blocks `moe`, as the hub's files hold them and as modules of transformers 5 do."""
    stacked = partial(Rule, layout="linear", stacked=True, when="moe")
    return (
        *mlp_rules(f"{source}.experts.{{e}}", _EXPERT, "moe_mlp", None, "moe"),
        stacked(f"{source}.experts.gate_up_proj", ("experts", "2moe_mlp", "d"), gate_up(_EXPERT, "moe_mlp")),
        stacked(
            f"{source}.experts.down_proj", ("experts", "d", "moe_mlp"), (Part(f"{_EXPERT}/down/kernel", "mlp_down"),)
        ),
    )


def router(source: str) -> tuple[Rule, ...]:
    """What chooses the experts of a token."""
    return linear(source, f"{_MOE}/router", "other", "experts", "d", when="moe")


def shared_expert(source: str) -> tuple[Rule, ...]:
    """The expert that every token passes through; its roles are its own."""
    return mlp_rules(source, f"{_MOE}/shared", "shared_mlp", "shared_bias", "shared", "shared_mlp")


def moe_dims(
    config: Mapping[str, Any], moe_mlp: int, moe: frozenset[int], shared_mlp: int = 0, **options: Any
) -> dict[str, Any]:
    """Sizes of a decoder with experts in the blocks `moe`; no shared expert where `shared_mlp` is 0."""
    dims = decoder_dims(config, **options)
    dense, shared = frozenset(blocks_of(config)) - moe, moe if shared_mlp else frozenset()
    counts = (config.get(key) for key in ("num_experts", "num_local_experts", "n_routed_experts"))
    return {
        **dims,
        "experts": next((count for count in counts if count is not None), None),
        "moe_mlp": moe_mlp,
        "2moe_mlp": 2 * moe_mlp,
        "shared_mlp": shared_mlp,
        "one": 1,
        "moe": moe,
        "dense": dense,
        "shared": shared,
        "mlp_bias": dense if dims["mlp_bias"] else frozenset(),
        "shared_bias": shared if dims["mlp_bias"] else frozenset(),
    }


def sparse_blocks(config: Mapping[str, Any]) -> frozenset[int]:
    """The blocks with experts in Qwen's way of saying it."""
    step, dense = config.get("decoder_sparse_step", 1), config.get("mlp_only_layers") or ()
    return frozenset(b for b in blocks_of(config) if b not in dense and (b + 1) % step == 0)


def _uniform_dims(config: Mapping[str, Any], **options: Any) -> Dims:
    return moe_dims(config, config["intermediate_size"], frozenset(blocks_of(config)), **options)


def _qwen2_moe_dims(config: Mapping[str, Any]) -> Dims:
    moe, shared = config["moe_intermediate_size"], config["shared_expert_intermediate_size"]
    biased = bool(config.get("qkv_bias", True))
    return moe_dims(config, moe, sparse_blocks(config), shared, qkv_bias=biased)


def _qwen3_moe_dims(config: Mapping[str, Any]) -> Dims:
    moe = config["moe_intermediate_size"]
    return moe_dims(config, moe, sparse_blocks(config), reads=("attention_bias",), qk_norm=True)


SHARED_EXPERT = (
    *shared_expert(f"{MLP}.shared_expert"),
    *linear(f"{MLP}.shared_expert_gate", f"{_MOE}/shared_gate", "other", "one", "d", when="shared"),
)
_MLPS = (*mlp_rules(when="dense"), *router(f"{MLP}.gate"), *expert_rules(), *SHARED_EXPERT)
_RULES = (*BEFORE, *attention_rules(), *qk_norms(), *_MLPS, *BLOCK_NORMS, *AFTER)
_mixture = partial(Family, rules=_RULES, renames=PREFIXES)

MIXTRAL = _mixture(
    name="mixtral",
    model_types=("mixtral",),
    defaults=sizes(32000, 4096, 14336, 32, 32, num_key_value_heads=8, num_local_experts=8, tie_word_embeddings=False),
    dims=_uniform_dims,
    renames=(
        *PREFIXES,
        (r"(layers\.\d+)\.block_sparse_moe\.(.*)", r"\1.mlp.\2"),
        (r"(.*\.experts\.\d+)\.w1\.weight", r"\1.gate_proj.weight"),
        (r"(.*\.experts\.\d+)\.w2\.weight", r"\1.down_proj.weight"),
        (r"(.*\.experts\.\d+)\.w3\.weight", r"\1.up_proj.weight"),
    ),
)
OLMOE = _mixture(
    name="olmoe",
    model_types=("olmoe",),
    defaults=sizes(50304, 2048, 2048, 16, 16, num_experts=64, tie_word_embeddings=False),
    dims=partial(_uniform_dims, reads=("attention_bias",), qk_norm=True),
    rules=(*BEFORE, *attention_rules(), *qk_norms("q", "kv"), *_MLPS, *BLOCK_NORMS, *AFTER),
)
QWEN2_MOE = _mixture(
    name="qwen2_moe",
    model_types=("qwen2_moe",),
    defaults={
        **sizes(151936, 2048, 5632, 24, 16, num_key_value_heads=16, tie_word_embeddings=False),
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts": 60,
    },
    dims=_qwen2_moe_dims,
)
QWEN3_MOE = _mixture(
    name="qwen3_moe",
    model_types=("qwen3_moe",),
    defaults={
        **sizes(151936, 2048, 6144, 24, 32, num_key_value_heads=4, tie_word_embeddings=False),
        "moe_intermediate_size": 768,
        "num_local_experts": 128,
    },
    dims=_qwen3_moe_dims,
)

_BLOCK_NORMS = (
    *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d", bias=True),
    *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/mlp_norm", "d", bias=True),
)


def _phimoe_dims(config: Mapping[str, Any]) -> Dims:
    dims = _uniform_dims(config, reads=("attention_bias",))
    return {**dims, "head_bias": bool(config.get("lm_head_bias")) and dims["language_model"]}


PHIMOE = _mixture(
    name="phimoe",
    model_types=("phimoe",),
    defaults=sizes(32064, 4096, 6400, 32, 32, num_key_value_heads=8, num_local_experts=16, tie_word_embeddings=False),
    dims=_phimoe_dims,
    rules=(
        *BEFORE,
        *attention_rules(),
        *router(f"{MLP}.router"),
        *expert_rules(),
        *_BLOCK_NORMS,
        *norm("norm", "final_norm", "d", bias=True),
        *unembedding(),
        vector("lm_head.bias", "unembedding/bias", "vocab", "head_bias"),
        *heads("score"),
    ),
    renames=(*MIXTRAL.renames, (r"(.*\.mlp)\.gate\.weight", r"\1.router.weight")),
)

# Its files hold what modules of transformers 5 do, turned: where both fit, it is a file.
QWEN3_VL_MOE = _mixture(
    name="qwen3_vl_moe",
    model_types=("qwen3_vl_moe_text",),
    defaults={
        **sizes(151936, 2048, 5632, 24, 16, num_key_value_heads=16),
        "moe_intermediate_size": 1408,
        "num_local_experts": 60,
    },
    dims=_qwen3_moe_dims,
    rules=(
        *BEFORE,
        *attention_rules(),
        *qk_norms(),
        *mlp_rules(when="dense"),
        *router(f"{MLP}.gate"),
        *turned_expert_rules(),
        *expert_rules(),
        *BLOCK_NORMS,
        *AFTER,
    ),
)

MIXTURES = (MIXTRAL, PHIMOE, OLMOE, QWEN2_MOE, QWEN3_MOE, QWEN3_VL_MOE)
