"""Guessing what a matrix does from its name."""

import doctest

import pytest

from eigensweep.engine.tables import groups
from eigensweep.models import ROLES, errors, guess_role, params, roles, staging

NAMES = {
    "model.layers.3.self_attn.q_proj.weight": ("query", 3, None),
    "model.layers.11.self_attn.k_proj.weight": ("key", 11, None),
    "transformer.layer.0.attention.v_lin.weight": ("value", 0, None),
    "transformer.layer.0.attention.out_lin.weight": ("attention_output", 0, None),
    "encoder.layer.2.attention.output.dense.weight": ("attention_output", 2, None),
    "encoder.layer.2.intermediate.dense.weight": ("mlp_up", 2, None),
    "encoder.layer.2.output.dense.weight": ("mlp_down", 2, None),
    "model.layers.3.self_attn.o_proj.weight": ("attention_output", 3, None),
    "h.0.attn.c_proj.weight": ("attention_output", 0, None),
    "h.0.mlp.c_proj.weight": ("mlp_down", 0, None),
    "h.0.mlp.c_fc.weight": ("mlp_up", 0, None),
    "h.0.attn.c_attn.weight": ("other", 0, None),
    "blocks.7.attn.qkv.weight": ("other", 7, None),
    "blocks.7.attn.proj.weight": ("attention_output", 7, None),
    "blocks.7.mlp.fc1.weight": ("mlp_up", 7, None),
    "encoder.block.4.layer.0.SelfAttention.q.weight": ("query", 4, None),
    "encoder.block.4.layer.0.SelfAttention.o.weight": ("attention_output", 4, None),
    "encoder.block.4.layer.1.DenseReluDense.wi_0.weight": ("mlp_gate", 4, None),
    "encoder.block.4.layer.1.DenseReluDense.wi_1.weight": ("mlp_up", 4, None),
    "encoder.block.4.layer.1.DenseReluDense.wo.weight": ("mlp_down", 4, None),
    "layers.5.attention.wq.weight": ("query", 5, None),
    "layers.5.attention.wo.weight": ("attention_output", 5, None),
    "layers.5.feed_forward.w1.weight": ("mlp_gate", 5, None),
    "layers.5.feed_forward.w2.weight": ("mlp_down", 5, None),
    "layers.5.feed_forward.w3.weight": ("mlp_up", 5, None),
    "model.layers.1.mlp.experts.17.gate_proj.weight": ("mlp_gate", 1, 17),
    "model.layers.1.mlp.gate.weight": ("other", 1, None),
    "model.layers.1.block_sparse_moe.experts.3.w2.weight": ("mlp_down", 1, 3),
    "tok_embeddings.weight": ("embedding", None, None),
    "model.embed_tokens.weight": ("embedding", None, None),
    "transformer.wpe.weight": ("position_embedding", None, None),
    "embeddings.token_type_embeddings.weight": ("other", None, None),
    "lm_head.weight": ("unembedding", None, None),
    "output.weight": ("unembedding", None, None),
    "bert.pooler.dense.weight": ("pooler", None, None),
    "classifier.weight": ("classifier", None, None),
    "qa_outputs.weight": ("classifier", None, None),
    "params/blocks_3/attention/query/kernel": ("query", 3, None),
    "something.weird": ("other", None, None),
}


@pytest.mark.parametrize("name", NAMES)
def test_guess(name):
    assert guess_role(name) == NAMES[name]


def test_tables_have_a_place_for_every_role():
    assert set(groups.ROLES) == set(ROLES)


def test_every_guess_is_a_role():
    assert {role for role, _ in roles._GUESSES} <= set(ROLES)


@pytest.mark.parametrize("module", [errors, params, roles, staging])
def test_the_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0


def test_guesses_agree_with_the_known_architectures(tiny):
    """Read without its config, a checkpoint of separate projections gets the roles that its family gives."""
    from eigensweep.models import open_checkpoint

    for name in ("bert", "llama", "opt", "qwen3", "mixtral", "roberta-classifier"):
        _, folder = tiny(name)
        known = {m.name: (m.role, m.block, m.expert, m.shape) for m in open_checkpoint(folder).matrices}
        guessed = open_checkpoint(folder / "model.safetensors")
        assert {m.name: (m.role, m.block, m.expert, m.shape) for m in guessed.matrices} == known
