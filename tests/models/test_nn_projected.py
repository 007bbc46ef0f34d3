"""LayerNorm written as RMSNorm, directions taken out of what norms read, and their gains."""

import jax
import numpy as np
import pytest

from eigensweep.models import CheckpointError, nn, open_checkpoint

jax.config.update("jax_enable_x64", True)

IDS = np.random.default_rng(0).integers(0, 60, (3, 12)).astype(np.int32)
MASK = np.arange(12) < np.array([[12], [7], [4]])


def random_model(config, **heads):
    """A model with random parameters, gains and biases of norms included."""
    model = nn.build(config, **heads)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: 0.3 * rng.standard_normal(leaf.shape).astype(np.float32), model.abstract())
    return model, params


SIZES = {"vocab_size": 60, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
CONFIGS = {
    "bert": {**SIZES, "model_type": "bert", "architectures": ["BertForMaskedLM"]},
    "electra": {**SIZES, "model_type": "electra", "embedding_size": 16, "architectures": ["ElectraForMaskedLM"]},
    "gpt2": {"model_type": "gpt2", "vocab_size": 60, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32},
    "gpt_neox": {**SIZES, "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"]},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_rms_norms_compute_what_layer_norms_did(name):
    model, params = random_model(CONFIGS[name])
    changed, rewritten = nn.rms_model(model), nn.rms_parameters(model, params)
    assert (model.architecture.norm, changed.architecture.norm) == ("layer", "rms_shift")
    before = model.apply(params, IDS, MASK).logits
    after = changed.apply(rewritten, IDS, MASK, taps=nn.NORM_TAPS)
    assert np.abs(before - after.logits)[MASK].max() < 1e-4 * np.abs(before).max()
    # and none of them has a mean left to take away
    for block in range(2):
        inner = {path.removeprefix(f"blocks/{block}/"): x for path, x in after.taps.items() if f"/{block}/" in path}
        for x in nn.norm_inputs(changed.architecture, block, inner).values():
            assert np.abs(np.mean(x, -1)).max() < 1e-5
    assert nn.rms_model(changed) == changed


def test_the_real_models_keep_their_logits(shared, minilm):
    for folder in (shared / "checkpoints" / "gpt2-char-shakespeare", minilm):
        model, params = nn.load(open_checkpoint(folder))
        before, after = model.apply(params, IDS), nn.rms_model(model).apply(nn.rms_parameters(model, params), IDS)
        for name in ("logits", "hidden", "pooled"):
            if getattr(before, name) is not None:
                np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-4)


def test_directions_go_from_what_each_norm_reads():
    """Held against blocks put together by hand from the model's own weights."""
    config = {**SIZES, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 3}
    model, params = random_model(config)
    bases = np.linalg.qr(np.random.default_rng(2).standard_normal((5, 24, 4)))[0]
    found = model.apply(params, IDS, taps=(*nn.NORM_TAPS, "inputs"), intervention=nn.Intervention(norms=bases))

    def normed(x, scale, number):
        x = x - x @ bases[number] @ bases[number].T
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + model.architecture.norm_eps) * scale

    for block in range(2):
        own, tap = params["blocks"][str(block)], {k.removeprefix(f"blocks/{block}/"): v for k, v in found.taps.items()}
        seen = normed(tap["stream/before"], own["attention_norm"]["scale"], 2 * block)
        np.testing.assert_allclose(tap["attention/query/kernel"], seen, atol=1e-5)
        middle = tap["stream/before"] + tap["update/attention"]  # the stream itself keeps them
        np.testing.assert_allclose(tap["stream/middle"], middle, atol=1e-5)
        seen = normed(middle, own["mlp_norm"]["scale"], 2 * block + 1)
        np.testing.assert_allclose(tap["mlp/up/kernel"], seen, atol=1e-5)
    last = normed(found.taps["blocks/1/stream/after"], params["final_norm"]["scale"], 4)
    np.testing.assert_allclose(found.hidden, last, atol=1e-5)
    with pytest.raises(ValueError, match="expected a norms of 5 positions and width 24"):
        model.apply(params, IDS, intervention=nn.Intervention(norms=bases[:4]))


def test_post_norm_models_lose_them_from_the_stream():
    model, params = random_model(CONFIGS["bert"])
    model, params = nn.rms_model(model), nn.rms_parameters(model, params)
    bases = np.linalg.qr(np.random.default_rng(2).standard_normal((5, 24, 4)))[0]
    change = nn.Intervention(norms=bases)
    found = model.apply(params, IDS, taps=nn.NORM_TAPS, intervention=change)
    tap = {k.removeprefix("blocks/0/"): v for k, v in found.taps.items() if k.startswith("blocks/0/")}
    x = nn.norm_inputs(model.architecture, 0, tap)[1]
    x = x - x @ bases[1] @ bases[1].T
    norm = params["blocks"]["0"]["mlp_norm"]
    expected = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-12) * norm["scale"] + norm["bias"]
    np.testing.assert_allclose(tap["stream/after"], expected, atol=1e-5)


def test_gains_of_the_norms_that_read_the_stream():
    config = {**SIZES, "model_type": "gemma", "architectures": ["GemmaForCausalLM"], "num_key_value_heads": 3}
    model, params = random_model(config)
    names = nn.stream_norms(model.architecture)
    scaled = nn.with_gains(model, params, {names[1]: 3.0, names[-1]: 0.5})
    for name, factor in ((names[0], 1.0), (names[1], 3.0), (names[-1], 0.5)):
        old, new = (1 + nn.get(tree, f"{name}/scale") for tree in (params, scaled))
        np.testing.assert_allclose(new, factor * old, rtol=1e-5)
    read = nn.gains_reader(model, nn.reader_of(params, model), {names[1]: 3.0})
    np.testing.assert_array_equal(read("blocks/0")["mlp_norm"]["scale"], nn.get(scaled, f"{names[1]}/scale"))
    olmo = {**SIZES, "model_type": "olmo2", "architectures": ["Olmo2ForCausalLM"]}
    with pytest.raises(CheckpointError, match="olmo2 norm what attention and MLP write"):
        nn.stream_norms(nn.build(olmo).architecture)
