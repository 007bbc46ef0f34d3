"""Encoders of BERT's shape (Devlin et al. 2019).

RoBERTa (Liu et al. 2019) and XLM-RoBERTa (Conneau et al. 2020), with heads of their own; DistilBERT (Sanh et al. 2019),
without types and pooler, under other names; ELECTRA (Clark et al. 2020), whose tables may be narrower than the blocks.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.families.rules import Dims, Family, Rule, embedding, flags, heads, linear, norm, sizes, vector

_DEFAULTS = sizes(30522, 768, 3072, 12, 12, max_position_embeddings=512, type_vocab_size=2)


def bert_dims(config: Mapping[str, Any]) -> Dims:
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


ATTENTION = "blocks/{b}/attention"
_CLS = "cls.predictions"


def embeddings(dim: str, types: str = "always", positions: str = "always") -> tuple[Rule, ...]:
    """Tables of words, positions and types, added and normed; in `dim` dimensions."""
    tables = (
        ("word", "embedding", "embedding", "vocab", "always"),
        ("position", "position_embedding", "position_embedding", "positions", positions),
        ("token_type", "type_embedding", "other", "types", types),
    )
    rules = (
        embedding(f"embeddings.{name}_embeddings", path, role, entries, dim, when)
        for name, path, role, entries, when in tables
    )
    return (*(rule for of in rules for rule in of), *norm("embeddings.LayerNorm", "embedding_norm", dim, bias=True))


BLOCK = (
    *linear("encoder.layer.{b}.attention.self.query", f"{ATTENTION}/query", "query", "d", "d", "always"),
    *linear("encoder.layer.{b}.attention.self.key", f"{ATTENTION}/key", "key", "d", "d", "always"),
    *linear("encoder.layer.{b}.attention.self.value", f"{ATTENTION}/value", "value", "d", "d", "always"),
    *linear("encoder.layer.{b}.attention.output.dense", f"{ATTENTION}/output", "attention_output", "d", "d", "always"),
    *norm("encoder.layer.{b}.attention.output.LayerNorm", "blocks/{b}/attention_norm", "d", bias=True),
    *linear("encoder.layer.{b}.intermediate.dense", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d", "always"),
    *linear("encoder.layer.{b}.output.dense", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp", "always"),
    *norm("encoder.layer.{b}.output.LayerNorm", "blocks/{b}/mlp_norm", "d", bias=True),
)
"""A block of BERT: attention, then an MLP, each normed behind its residual."""

POOLER = linear("pooler.dense", "pooler", "pooler", "d", "d", "optional", when="optional")
_ENCODER = (*embeddings("d"), *BLOCK, *POOLER)


def masked_head(dense: str, norm_name: str, decoder: str, bias: str = "", dim: str = "d") -> tuple[Rule, ...]:
    """The masked language model's head: dense, norm, and a decoder whose weight may be the embedding.

    The bias may have two names. Mostly one is stored, or both with the same numbers; where they differ, transformers
    adds the decoder's own.
    """
    (decode,) = linear(decoder, "mlm/decoder", "unembedding", "vocab", dim, when="optional")
    biases = [vector(f"{decoder}.bias", "mlm/bias", "vocab", "optional")]
    if bias:
        own = vector(f"{decoder}.bias", "mlm/decoder/bias", "vocab", "optional", tied_to="mlm/bias")
        biases = [vector(bias, "mlm/bias", "vocab", "optional"), own]
    return (
        *linear(dense, "mlm/dense", "other", dim, "d", "optional", when="optional"),
        *norm(norm_name, "mlm/norm", dim, bias=True, when="optional"),
        replace(decode, tied_to="embedding/embedding"),
        *biases,
    )


def dense_heads(dense: str = "classifier.dense", *sources: str) -> tuple[Rule, ...]:
    """Task heads of two layers, or of one."""
    first = linear(dense, "classifier/dense", "classifier", "d", "d", "optional", when="optional")
    return (*first, *heads(*sources))


BERT = Family(
    name="bert",
    model_types=("bert",),
    defaults=_DEFAULTS,
    dims=bert_dims,
    rules=(
        *_ENCODER,
        *masked_head(f"{_CLS}.transform.dense", f"{_CLS}.transform.LayerNorm", f"{_CLS}.decoder", f"{_CLS}.bias"),
        *linear("cls.seq_relationship", "next_sentence", "classifier", "two", "d", "optional", when="optional"),
        *heads("classifier", "qa_outputs"),
    ),
    renames=((r"bert\.(.*)", r"\1"), (r"(.*LayerNorm)\.gamma", r"\1.weight"), (r"(.*LayerNorm)\.beta", r"\1.bias")),
)
ROBERTA = Family(
    name="roberta",
    model_types=("roberta", "xlm-roberta", "camembert"),
    defaults={**_DEFAULTS, "vocab_size": 50265},
    dims=bert_dims,
    rules=(
        *_ENCODER,
        *masked_head("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
        *dense_heads("classifier.dense", "classifier.out_proj", "classifier", "qa_outputs"),
    ),
    renames=((r"roberta\.(.*)", r"\1"),),
)


def _distilbert_dims(config: Mapping[str, Any]) -> Dims:
    names = {"hidden_size": "dim", "intermediate_size": "hidden_dim", "num_hidden_layers": "n_layers"}
    return bert_dims({**config, "type_vocab_size": 0, **{ours: config[theirs] for ours, theirs in names.items()}})


DISTILBERT = Family(
    name="distilbert",
    model_types=("distilbert",),
    defaults={
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "dim": 768,
        "hidden_dim": 3072,
        "n_layers": 6,
        "n_heads": 12,
    },
    dims=_distilbert_dims,
    rules=(
        *(rule for rule in embeddings("d") if rule.parts[0].role != "other"),
        *BLOCK,
        *masked_head("vocab_transform", "vocab_layer_norm", "vocab_projector"),
        *dense_heads("pre_classifier", "classifier", "qa_outputs"),
    ),
    renames=(
        (r"distilbert\.(.*)", r"\1"),
        (r"transformer\.(layer\..*)", r"encoder.\1"),
        (r"(.*\.attention)\.q_lin\.(.*)", r"\1.self.query.\2"),
        (r"(.*\.attention)\.k_lin\.(.*)", r"\1.self.key.\2"),
        (r"(.*\.attention)\.v_lin\.(.*)", r"\1.self.value.\2"),
        (r"(.*\.attention)\.out_lin\.(.*)", r"\1.output.dense.\2"),
        (r"(.*)\.sa_layer_norm\.(.*)", r"\1.attention.output.LayerNorm.\2"),
        (r"(.*)\.ffn\.lin1\.(.*)", r"\1.intermediate.dense.\2"),
        (r"(.*)\.ffn\.lin2\.(.*)", r"\1.output.dense.\2"),
        (r"(.*)\.output_layer_norm\.(.*)", r"\1.output.LayerNorm.\2"),
    ),
)


def _electra_dims(config: Mapping[str, Any]) -> Dims:
    dims = dict(bert_dims(config))
    narrow = config["embedding_size"]
    if any(str(name).endswith("ForPreTraining") for name in config.get("architectures") or ()):
        dims["language_model"] = False  # it tells replaced tokens from others
    return {**dims, "narrow": narrow, "projected": narrow != config["hidden_size"], "one": 1}


_DISCRIMINATOR = "discriminator_predictions"

ELECTRA = Family(
    name="electra",
    model_types=("electra",),
    defaults={**sizes(30522, 256, 1024, 12, 4, max_position_embeddings=512, type_vocab_size=2), "embedding_size": 128},
    dims=_electra_dims,
    rules=(
        *embeddings("narrow"),
        *linear("embeddings_project", "embedding_projection", "other", "d", "narrow", "projected", when="projected"),
        *BLOCK,
        *masked_head(
            "generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head", dim="narrow"
        ),
        *linear(f"{_DISCRIMINATOR}.dense", "discriminator/dense", "classifier", "d", "d", "optional", when="optional"),
        *linear(
            f"{_DISCRIMINATOR}.dense_prediction", "discriminator/output", "classifier", "one", "d", "optional",
            when="optional",
        ),
        *dense_heads("classifier.dense", "classifier.out_proj", "classifier", "qa_outputs", "sequence_summary.summary"),
    ),
    renames=((r"electra\.(.*)", r"\1"),),
)  # fmt: skip

ENCODERS = (BERT, ROBERTA, DISTILBERT, ELECTRA)
