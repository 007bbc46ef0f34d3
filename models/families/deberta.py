"""DeBERTa v2 and v3 (He et al. 2021): BERT's blocks with a table of relative positions that all of them share.

The table goes through the query and key projections (`share_att_key`), or through projections of its own.
"""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.encoders import ATTENTION, BLOCK, bert_dims, embeddings, masked_head
from eigensweep.models.families.rules import Dims, Family, convolution, embedding, heads, linear, norm, sizes


def _dims(config: Mapping[str, Any]) -> Dims:
    relative = bool(config.get("relative_attention"))
    own = relative and not config.get("share_att_key")
    kinds = config.get("pos_att_type") or ()
    kinds = kinds.split("|") if isinstance(kinds, str) else kinds
    reach = _positive(config, "max_relative_positions") or config["max_position_embeddings"]
    narrow = config.get("embedding_size") or config["hidden_size"]
    typed = config.get("type_vocab_size") or 0
    return {
        **bert_dims({**config, "type_vocab_size": typed}),
        "narrow": narrow,
        "projected": narrow != config["hidden_size"],
        "typed": typed > 0,
        # v3's files have absolute positions that the model does not look at
        "absolute": True if config.get("position_biased_input", True) else None,
        "relative": relative,
        "distances": 2 * (_positive(config, "position_buckets") or reach),
        "normed": relative and "layer_norm" in str(config.get("norm_rel_ebd", "none")).lower(),
        "own_key": own and "c2p" in kinds,
        "own_query": own and "p2c" in kinds,
        "convolution": _positive(config, "conv_kernel_size") > 0,
        "taps": _positive(config, "conv_kernel_size"),
        "inputs": config["hidden_size"] // (_positive(config, "conv_groups") or 1),
    }


def _positive(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else 0


_SELF = "encoder.layer.{b}.attention.self"
_RELATIVE = "relative_position_embedding"

DEBERTA_V2 = Family(
    name="deberta-v2",
    model_types=("deberta-v2",),
    defaults=sizes(128100, 1536, 6144, 24, 24, max_position_embeddings=512),
    dims=_dims,
    rules=(
        *(
            rule
            for rule in embeddings("narrow", types="typed", positions="absolute")
            if rule.layout == "embedding"
        ),
        *norm("embeddings.LayerNorm", "embedding_norm", "d", bias=True),
        *linear("embeddings.embed_proj", "embedding_projection", "other", "d", "narrow", when="projected"),
        *embedding("encoder.rel_embeddings", _RELATIVE, "position_embedding", "distances", "d", "relative"),
        *norm("encoder.LayerNorm", f"{_RELATIVE}/norm", "d", bias=True, when="normed"),
        *BLOCK,
        *linear(f"{_SELF}.pos_key_proj", f"{ATTENTION}/position_key", "position_key", "d", "d", "own_key", "own_key"),
        *linear(
            f"{_SELF}.pos_query_proj", f"{ATTENTION}/position_query", "position_query", "d", "d", "own_query",
            "own_query",
        ),
        *convolution("encoder.conv.conv", "convolution", ("d", "inputs", "taps"), "convolution", "convolution"),
        *norm("encoder.conv.LayerNorm", "convolution/norm", "d", bias=True, when="convolution"),
        *linear("pooler.dense", "pooler", "pooler", "d", "d", "optional", when="optional"),
        *masked_head(
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.predictions.decoder",
            "cls.predictions.bias",
        ),
        *heads("classifier", "qa_outputs"),
    ),
    renames=(
        (r"deberta\.(.*)", r"\1"),
        (r"(encoder\.layer\.\d+\.attention\.self\.(?:query|key|value))_proj\.(.*)", r"\1.\2"),
        # the published files, and classes with `legacy` off
        (r"(?:lm_predictions|cls)\.lm_head\.(dense|LayerNorm)\.(.*)", r"cls.predictions.transform.\1.\2"),
        (r"(?:lm_predictions|cls)\.lm_head\.bias", r"cls.predictions.bias"),
    ),
    skips=((r"mask_predictions\..*", "a head of the pretraining that transformers has no class for"),),
)  # fmt: skip
