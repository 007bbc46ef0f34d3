"""Narrower residual streams: the same logits at the full width, transformers' own at every width, and refusals."""

import jax
import numpy as np
import pytest

from eigensweep.models import CheckpointError, nn, open_checkpoint, slicing
from eigensweep.models.export import write_parameters
from eigensweep.models.params import nest

jax.config.update("jax_enable_x64", True)

IDS = np.random.default_rng(0).integers(0, 500, (2, 24)).astype(np.int32)


def rotation(width, kept, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0][:, :kept]


@pytest.fixture(scope="module")
def stories(shared):
    checkpoint = open_checkpoint(shared / "checkpoints" / "llama-stories260k")
    return checkpoint, *nn.load(checkpoint)


def test_a_rotation_alone_changes_no_logit(stories):
    checkpoint, model, params = stories
    config = slicing.sliced_config(checkpoint.config, model.architecture, 64)
    rotated, leaves = slicing.sliced(model, params, rotation(64, 64), config)
    before = model.apply(params, IDS).logits
    np.testing.assert_allclose(rotated.apply(nest(leaves), IDS).logits, before, atol=1e-4)
    assert leaves["unembedding/kernel"].shape == (64, 512)  # untied: it has the final norm's gain


def test_a_slice_is_what_transformers_loads_and_a_projected_stream(stories, tmp_path):
    """At d' < d: the rotated stream with its last dimensions at 0, and so is every norm's input."""
    import torch
    from transformers import AutoModelForCausalLM

    checkpoint, model, params = stories
    basis, width = rotation(64, 48), 48
    config = slicing.sliced_config(checkpoint.config, model.architecture, width)
    narrow, leaves = slicing.sliced(model, params, basis, config)
    ours = narrow.apply(nest(leaves), IDS).logits
    out = write_parameters(config, leaves, tmp_path / "narrow", checkpoint.source.directory)
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(out)(torch.tensor(IDS).long()).logits.numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    again, read = nn.load(open_checkpoint(out))
    np.testing.assert_allclose(again.apply(read, IDS).logits, ours, atol=1e-5)
    assert (again.architecture.width, again.architecture.head_dim) == (48, 8)
    assert (out / "tokenizer.json").is_file()

    gone = rotation(64, 64)[:, 48:]  # the same of the model as it is, its stream projected wherever a norm reads it
    stacked = np.broadcast_to(gone, (2 * model.architecture.num_blocks + 1, *gone.shape))
    projected = model.apply(params, IDS, intervention=nn.Intervention(basis=stacked)).logits
    np.testing.assert_allclose(ours, projected, atol=1e-4)


def test_gains_take_a_factor_and_writers_biases_are_rotated():
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 60, "hidden_size": 24,
        "intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 3, "num_key_value_heads": 3,
        "attention_bias": True, "mlp_bias": True,
    }  # fmt: skip
    model = nn.build(config)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), model.abstract())
    basis = rotation(24, 18)
    narrower = slicing.sliced_config(config, model.architecture, 18)
    _, leaves = slicing.sliced(model, params, basis, narrower, (0.5, 1.0, 2.0))
    np.testing.assert_allclose(leaves["blocks/0/attention_norm/scale"], 0.5 * np.sqrt(24 / 18), rtol=1e-6)
    np.testing.assert_allclose(leaves["final_norm/scale"], 2 * np.sqrt(24 / 18), rtol=1e-6)
    for path in ("blocks/0/mlp/down/bias", "blocks/0/attention/output/bias", "embedding/embedding"):
        np.testing.assert_allclose(leaves[path], nn.get(params, path) @ basis, atol=1e-5)
    np.testing.assert_array_equal(leaves["blocks/0/mlp/up/bias"], nn.get(params, "blocks/0/mlp/up/bias"))
    assert narrower["rms_norm_eps"] == pytest.approx(model.architecture.norm_eps * 24 / 18)


@pytest.mark.parametrize(
    ("family", "more", "words"),
    [
        ("gpt_neox", {}, "gpt_neox cannot be sliced: its norms are LayerNorms"),
        ("olmo2", {}, "olmo2 cannot be sliced: its norms do not stand before"),
        ("gemma", {}, "gemma cannot be sliced: its norms are no plain RMSNorms"),
        ("mixtral", {}, "mixtral cannot be sliced: its MLPs are mixtures of experts"),
        ("phi3", {"pad_token_id": 0}, "phi3 cannot be sliced: its config.json has no head_dim"),
    ],
)
def test_what_cannot_be_sliced_is_refused_in_a_line(family, more, words):
    sizes = {"vocab_size": 60, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 3, "num_key_value_heads": 3}
    arch = nn.build({"model_type": family, **sizes, **heads, **more}, heads=()).architecture
    with pytest.raises(CheckpointError, match=words) as caught:
        slicing.check_sliceable(arch)
    assert "\n" not in str(caught.value)


def test_widths_are_what_the_class_of_the_config_takes(stories):
    arch = stories[1].architecture
    assert slicing.sliced_widths(arch, (1.0, 0.99, 0.75, 0.7, 0.01)) == (64, 48, 8)
    for width in (50, 0, 72):
        with pytest.raises(CheckpointError, match=f"width {width}: expected a multiple of the 8 heads from 8 to 64"):
            slicing.check_width(arch, width)
