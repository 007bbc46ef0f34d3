"""ALBERT (Lan et al. 2020): BERT whose blocks share their weights; a linear layer widens its narrow embedding.

What is stored is one block a group, which num_hidden_layers / num_hidden_groups blocks in turn apply. A matrix is
listed once; its block is the number of its group.
"""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.encoders import embeddings, masked_head
from eigensweep.models.families.rules import Dims, Family, flags, heads, linear, norm, sizes

_GROUP, _ATTENTION = "groups.{b}", "blocks/{b}/attention"


def _dims(config: Mapping[str, Any]) -> Dims:
    return {
        **flags(config),
        "blocks": config["num_hidden_groups"],
        "vocab": config["vocab_size"],
        "positions": config["max_position_embeddings"],
        "types": config["type_vocab_size"],
        "narrow": config["embedding_size"],
        "d": config["hidden_size"],
        "mlp": config["intermediate_size"],
    }


ALBERT = Family(
    name="albert",
    model_types=("albert",),
    defaults={
        **sizes(30000, 4096, 16384, 12, 64, max_position_embeddings=512, type_vocab_size=2),
        "embedding_size": 128,
        "num_hidden_groups": 1,
    },
    dims=_dims,
    rules=(
        *embeddings("narrow"),
        *linear("encoder.embedding_hidden_mapping_in", "embedding_projection", "other", "d", "narrow", "always"),
        *linear(f"{_GROUP}.attention.query", f"{_ATTENTION}/query", "query", "d", "d", "always"),
        *linear(f"{_GROUP}.attention.key", f"{_ATTENTION}/key", "key", "d", "d", "always"),
        *linear(f"{_GROUP}.attention.value", f"{_ATTENTION}/value", "value", "d", "d", "always"),
        *linear(f"{_GROUP}.attention.dense", f"{_ATTENTION}/output", "attention_output", "d", "d", "always"),
        *norm(f"{_GROUP}.attention.LayerNorm", "blocks/{b}/attention_norm", "d", bias=True),
        *linear(f"{_GROUP}.ffn", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "always"),
        *linear(f"{_GROUP}.ffn_output", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "always"),
        *norm(f"{_GROUP}.full_layer_layer_norm", "blocks/{b}/mlp_norm", "d", bias=True),
        *linear("pooler", "pooler", "pooler", "d", "d", "optional", when="optional"),
        *masked_head(
            "predictions.dense", "predictions.LayerNorm", "predictions.decoder", "predictions.bias", dim="narrow"
        ),
        *heads("sop_classifier.classifier", "classifier", "qa_outputs"),
    ),
    renames=(
        (r"albert\.(.*)", r"\1"),
        (r"encoder\.albert_layer_groups\.(\d+)\.albert_layers\.0\.(.*)", r"groups.\1.\2"),
    ),
)
