"""Synthetic checkpoints: every family's are complete, and the sweep of one finds what was planted."""

import json

import numpy as np
import pytest

from eigensweep import engine, models
from eigensweep.models import synth

TINY = {
    "llama": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2, "vocab_size": 96, "tie_word_embeddings": False},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 96, "n_positions": 80},
    "bert": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
             "vocab_size": 96, "max_position_embeddings": 80},
    "gpt_neox": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
                 "vocab_size": 96},
    "qwen3": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 96},
}  # fmt: skip


@pytest.mark.parametrize("model_type", TINY)
def test_written_checkpoint_is_complete(tmp_path, model_type):
    config = TINY[model_type] | {"model_type": model_type}
    planted = synth.write_synthetic(tmp_path / "out", config, dtype="float32", spikes=1)
    checkpoint = models.open_checkpoint(tmp_path / "out")
    assert checkpoint.identity["architecture"] == model_type
    assert not checkpoint.warnings
    tree = models.load_params(checkpoint)  # raises where a leaf is missing, unexpected or of another shape
    assert len(tree["blocks"]) == 2
    assert set(planted) == {m.name.split(":")[0] for m in checkpoint.matrices}


def test_experts_are_written_once(tmp_path):
    config = TINY["llama"] | {"model_type": "mixtral", "num_local_experts": 3}
    synth.write_synthetic(tmp_path / "out", config, dtype="float32", spikes=0)
    checkpoint = models.open_checkpoint(tmp_path / "out")
    experts = [(m.block, m.expert, m.role) for m in checkpoint.matrices if m.expert is not None]
    assert len(experts) == len(set(experts)) == 2 * 3 * 3
    assert not checkpoint.warnings
    models.load_params(checkpoint)


def test_shards_hold_what_one_file_holds(tmp_path):
    config = TINY["llama"] | {"model_type": "llama"}
    synth.write_synthetic(tmp_path / "one", config)
    synth.write_synthetic(tmp_path / "many", config, shard_bytes=40_000)
    one, many = (models.open_checkpoint(tmp_path / name) for name in ("one", "many"))
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 3
    for a, b in zip(one.matrices, many.matrices, strict=True):
        assert a.name == b.name
        assert a.dtype == "bfloat16"
        np.testing.assert_array_equal(a.read(), b.read())


def test_sweep_finds_the_planted_spikes_where_they_should_be(tmp_path):
    config = TINY["llama"] | {"model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "vocab_size": 300}
    planted = synth.write_synthetic(tmp_path / "out", config, dtype="float32", spikes=3)
    options = engine.SweepOptions(control="none", equalise=False, num_flips=0, roles=("query", "mlp_up", "mlp_down"))
    run = engine.sweep(models.open_checkpoint(tmp_path / "out"), options)
    assert (run.matrices["num_right_outliers"] == 3).all()
    for row, spectrum in zip(run.matrices.itertuples(), run.spectra.itertuples(), strict=True):
        expected = [synth.spiked_singular_value(theta, row.m, row.n) for theta in planted[row.name]]
        np.testing.assert_allclose(spectrum.singular_values[:3], expected, rtol=0.03)
    recorded = json.loads((tmp_path / "out" / "planted.json").read_text())
    assert recorded["theta"] == planted


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "nonsense"}, "no known architecture"),
        (TINY["llama"] | {"model_type": "llama", "hidden_size": 0}, "hidden_size"),
    ],
)
def test_wrong_config_is_refused_and_nothing_written(tmp_path, config, said):
    with pytest.raises(models.CheckpointError, match=said):
        synth.write_synthetic(tmp_path / "out", config)
    assert not list(tmp_path.iterdir())
