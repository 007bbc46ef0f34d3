"""BERT (Devlin et al. 2019), with its pooler and its heads; RoBERTa's encoder is the same."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.rules import Dims, Family, Rule, embedding, flags, heads, linear, norm, vector

DEFAULTS = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}


def encoder_dims(config: Mapping[str, Any]) -> Dims:
    """Sizes of a BERT-like encoder."""
    return {
        **flags(config),
        "blocks": config["num_hidden_layers"],
        "vocab": config["vocab_size"],
        "positions": config["max_position_embeddings"],
        "types": config["type_vocab_size"],
        "d": config["hidden_size"],
        "mlp": config["intermediate_size"],
        "two": 2,
    }


_BLOCK = "encoder.layer.{b}"

ENCODER: tuple[Rule, ...] = (
    *embedding("embeddings.word_embeddings", "embedding", "embedding", "vocab", "d"),
    *embedding(
        "embeddings.position_embeddings", "position_embedding", "position_embedding", "positions", "d"
    ),
    *embedding("embeddings.token_type_embeddings", "type_embedding", "other", "types", "d"),
    *norm("embeddings.LayerNorm", "embedding_norm", "d", bias=True),
    *linear(f"{_BLOCK}.attention.self.query", "blocks/{b}/attention/query", "query", "d", "d", "always"),
    *linear(f"{_BLOCK}.attention.self.key", "blocks/{b}/attention/key", "key", "d", "d", "always"),
    *linear(f"{_BLOCK}.attention.self.value", "blocks/{b}/attention/value", "value", "d", "d", "always"),
    *linear(
        f"{_BLOCK}.attention.output.dense",
        "blocks/{b}/attention/output",
        "attention_output",
        "d",
        "d",
        "always",
    ),
    *norm(f"{_BLOCK}.attention.output.LayerNorm", "blocks/{b}/attention_norm", "d", bias=True),
    *linear(f"{_BLOCK}.intermediate.dense", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "always"),
    *linear(f"{_BLOCK}.output.dense", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "always"),
    *norm(f"{_BLOCK}.output.LayerNorm", "blocks/{b}/mlp_norm", "d", bias=True),
    *linear("pooler.dense", "pooler", "pooler", "d", "d", "optional", when="optional"),
)


def mlm_head(dense: str, norm_name: str, decoder: str, bias: str) -> tuple[Rule, ...]:
    """The masked language model's head: dense, norm, and a decoder tied to the embedding."""
    decode = linear(decoder, "mlm/decoder", "unembedding", "vocab", "d", when="optional")
    return (
        *linear(dense, "mlm/dense", "other", "d", "d", "optional", when="optional"),
        *norm(norm_name, "mlm/norm", "d", bias=True, when="optional"),
        vector(bias, "mlm/bias", "vocab", "optional"),
        *(
            Rule(r.pattern, r.shape, r.parts, r.layout, when=r.when, tied_to="embedding/embedding")
            for r in decode
        ),
        # The same bias under a second name; a model that stores both stores the same numbers.
        vector(f"{decoder}.bias", "mlm/decoder/bias", "vocab", "optional", tied_to="mlm/bias"),
    )


BERT = Family(
    name="bert",
    model_types=("bert",),
    defaults=DEFAULTS,
    dims=encoder_dims,
    rules=(
        *ENCODER,
        *mlm_head(
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.predictions.decoder",
            "cls.predictions.bias",
        ),
        *linear(
            "cls.seq_relationship", "next_sentence", "classifier", "two", "d", "optional", when="optional"
        ),
        *heads("classifier", "qa_outputs"),
    ),
    renames=(
        (r"bert\.(.*)", r"\1"),
        (r"(.*LayerNorm)\.gamma", r"\1.weight"),
        (r"(.*LayerNorm)\.beta", r"\1.bias"),
    ),
)
