"""Encoders: BERT (Devlin et al. 2019); RoBERTa (Liu et al. 2019) and XLM-RoBERTa, the same with heads of their own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.families.rules import Dims, Family, Rule, embedding, flags, heads, linear, norm, sizes, vector

_DEFAULTS = sizes(30522, 768, 3072, 12, 12, max_position_embeddings=512, type_vocab_size=2)


def _dims(config: Mapping[str, Any]) -> Dims:
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


_BLOCK, _ATTENTION = "encoder.layer.{b}", "blocks/{b}/attention"
_CLS = "cls.predictions"

_ENCODER: tuple[Rule, ...] = (
    *embedding("embeddings.word_embeddings", "embedding", "embedding", "vocab", "d"),
    *embedding("embeddings.position_embeddings", "position_embedding", "position_embedding", "positions", "d"),
    *embedding("embeddings.token_type_embeddings", "type_embedding", "other", "types", "d"),
    *norm("embeddings.LayerNorm", "embedding_norm", "d", bias=True),
    *linear(f"{_BLOCK}.attention.self.query", f"{_ATTENTION}/query", "query", "d", "d", "always"),
    *linear(f"{_BLOCK}.attention.self.key", f"{_ATTENTION}/key", "key", "d", "d", "always"),
    *linear(f"{_BLOCK}.attention.self.value", f"{_ATTENTION}/value", "value", "d", "d", "always"),
    *linear(f"{_BLOCK}.attention.output.dense", f"{_ATTENTION}/output", "attention_output", "d", "d", "always"),
    *norm(f"{_BLOCK}.attention.output.LayerNorm", "blocks/{b}/attention_norm", "d", bias=True),
    *linear(f"{_BLOCK}.intermediate.dense", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "always"),
    *linear(f"{_BLOCK}.output.dense", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "always"),
    *norm(f"{_BLOCK}.output.LayerNorm", "blocks/{b}/mlp_norm", "d", bias=True),
    *linear("pooler.dense", "pooler", "pooler", "d", "d", "optional", when="optional"),
)


def _mlm_head(dense: str, norm_name: str, decoder: str, bias: str) -> tuple[Rule, ...]:
    """The masked language model's head: dense, norm, and a decoder whose weight may be the embedding.

    The bias has two names. Mostly one is stored, or both with the same numbers; where they differ, transformers adds
    the decoder's own.
    """
    (decode,) = linear(decoder, "mlm/decoder", "unembedding", "vocab", "d", when="optional")
    return (
        *linear(dense, "mlm/dense", "other", "d", "d", "optional", when="optional"),
        *norm(norm_name, "mlm/norm", "d", bias=True, when="optional"),
        vector(bias, "mlm/bias", "vocab", "optional"),
        replace(decode, tied_to="embedding/embedding"),
        vector(f"{decoder}.bias", "mlm/decoder/bias", "vocab", "optional", tied_to="mlm/bias"),
    )


BERT = Family(
    name="bert",
    model_types=("bert",),
    defaults=_DEFAULTS,
    dims=_dims,
    rules=(
        *_ENCODER,
        *_mlm_head(f"{_CLS}.transform.dense", f"{_CLS}.transform.LayerNorm", f"{_CLS}.decoder", f"{_CLS}.bias"),
        *linear("cls.seq_relationship", "next_sentence", "classifier", "two", "d", "optional", when="optional"),
        *heads("classifier", "qa_outputs"),
    ),
    renames=((r"bert\.(.*)", r"\1"), (r"(.*LayerNorm)\.gamma", r"\1.weight"), (r"(.*LayerNorm)\.beta", r"\1.bias")),
)
ROBERTA = Family(
    name="roberta",
    model_types=("roberta", "xlm-roberta", "camembert"),
    defaults={**_DEFAULTS, "vocab_size": 50265},
    dims=_dims,
    rules=(
        *_ENCODER,
        *_mlm_head("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
        *linear("classifier.dense", "classifier/dense", "classifier", "d", "d", "optional", when="optional"),
        *heads("classifier.out_proj", "classifier", "qa_outputs"),
    ),
    renames=((r"roberta\.(.*)", r"\1"),),
)

ENCODERS = (BERT, ROBERTA)
