"""Encoders: BERT, RoBERTa and its kin, DistilBERT, ELECTRA."""

from typing import Any

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.configs.checks import (
    check_activation,
    check_heads_divide,
    check_shares,
    check_sizes,
    check_usual,
    full_windows,
    wrong,
)

_ROBERTAS = ("roberta", "xlm-roberta", "camembert")
ENCODERS = ("bert", *_ROBERTAS, "distilbert", "electra")
_DISTILBERT_EPS = 1e-12  # its class has it written out


def read_encoder(c: Any) -> Architecture:
    """The settings of an encoder, from its configuration."""
    distil, electra, roberta = c.model_type == "distilbert", c.model_type == "electra", c.model_type in _ROBERTAS
    mlp, activation = ("hidden_dim", "activation") if distil else ("intermediate_size", "hidden_act")
    drop = ("dropout", "attention_dropout", "seq_classif_dropout")
    if not distil:
        drop = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    check_sizes(c, "vocab_size", "hidden_size", "max_position_embeddings", "num_hidden_layers", mlp)
    check_sizes(c, "num_attention_heads", "embedding_size")
    check_sizes(c, "type_vocab_size", "pad_token_id", least=0)
    check_shares(c, "layer_norm_eps", *drop)
    check_activation(c, activation)
    check_heads_divide(c)
    offset = (1 if c.pad_token_id is None else c.pad_token_id) + 1 if roberta else 0
    if c.max_position_embeddings <= offset:
        raise wrong(c, "max_position_embeddings", f"more than the {offset} rows before the first token's")
    check_usual(c, is_decoder=False, is_causal=None)
    head_dim, num_blocks = c.hidden_size // c.num_attention_heads, c.num_hidden_layers
    dropout, attention_dropout, classifier_dropout = (getattr(c, name) for name in drop)
    return Architecture(
        family="roberta" if roberta else c.model_type,
        causal=False,
        vocab_size=c.vocab_size,
        width=c.hidden_size,
        num_blocks=num_blocks,
        num_heads=c.num_attention_heads,
        num_kv_heads=c.num_attention_heads,
        head_dim=head_dim,
        mlp_dim=getattr(c, mlp),
        max_positions=c.max_position_embeddings - offset,
        norm_eps=_DISTILBERT_EPS if distil else float(c.layer_norm_eps),
        activation=getattr(c, activation),
        windows=full_windows(num_blocks),
        attention_scales=(head_dim**-0.5,) * num_blocks,
        tied=c.tie_word_embeddings,
        residual="post",
        position_rows=c.max_position_embeddings,
        position_offset=offset,
        type_rows=0 if distil else c.type_vocab_size,
        embedding_width=c.embedding_size if electra and c.embedding_size != c.hidden_size else 0,
        num_labels=len(c.id2label),
        pooler=not (distil or electra),
        classifier_dense=c.model_type != "bert",
        classifier_activation={"distilbert": "relu", "electra": "gelu"}.get(c.model_type, "tanh"),
        mlm_activation="gelu" if roberta or electra else getattr(c, activation),
        dropout=float(dropout),
        attention_dropout=float(attention_dropout),
        classifier_dropout=float(dropout if classifier_dropout is None else classifier_dropout),
    )
