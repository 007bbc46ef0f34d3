"""Drawn text follows the model's own distribution."""

import jax
import numpy as np
import pytest

from eigensweep.models import nn
from eigensweep.models.data import IGNORE
from eigensweep.models.nn.sample import sample_rows

jax.config.update("jax_enable_x64", True)

CONFIG = {"model_type": "gpt2", "vocab_size": 5, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 24}


def test_second_tokens_have_the_models_probabilities_and_losses_its_entropy():
    model = nn.build(CONFIG, heads=("unembedding",))
    params = jax.tree.map(lambda leaf: 8 * leaf, model.init(seed=1))
    rows = sample_rows(model, params, start=2, num_rows=3000, length=20, seed=0)
    assert (rows.input_ids[:, 0] == 2).all()
    np.testing.assert_array_equal(rows.targets[:, :-1], rows.input_ids[:, 1:])
    assert (rows.targets[:, -1] == IGNORE).all()
    p = np.asarray(jax.nn.softmax(model.apply(params, np.array([[2]])).logits[0, 0]))
    share = np.bincount(rows.input_ids[:, 1], minlength=5) / 3000
    assert p.max() > 0.3  # a uniform model would prove little
    np.testing.assert_allclose(share, p, atol=5 * np.sqrt(0.25 / 3000))
    scores = nn.score(model, params, rows, 500)
    logp = jax.nn.log_softmax(model.apply(params, rows.input_ids).logits)
    entropy = -np.sum(np.exp(logp) * logp, axis=-1)[:, :-1].mean()
    assert scores.mean == pytest.approx(entropy, abs=5 * scores.loss.std() / np.sqrt(3000))
    again = sample_rows(model, params, start=2, num_rows=3000, length=20, seed=0)
    np.testing.assert_array_equal(again.input_ids, rows.input_ids)
    with pytest.raises(ValueError, match="24 positions"):
        sample_rows(model, params, 2, 1, 25, 0)


def test_a_model_without_a_head_cannot_write():
    model = nn.build({**CONFIG, "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1,
                      "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 24,
                      "type_vocab_size": 2}, heads=())  # fmt: skip
    with pytest.raises(ValueError, match="unembedding"):
        sample_rows(model, model.init(), 0, 1, 8, 0)
