"""Every architecture's mapping against what transformers' torch modules compute."""

import json

import numpy as np
import pytest

from eigensweep.models import CheckpointError, load_params, open_checkpoint

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")

NAMES = [
    "bert",
    "bert-model",
    "bert-pretraining",
    "bert-classifier",
    "bert-qa",
    "roberta",
    "roberta-classifier",
    "roberta-tokens",
    "xlm-roberta",
    "gpt2",
    "gpt2-model",
    "gpt2-classifier",
    "llama",
    "llama-model",
    "llama-tied-biased",
    "llama-classifier",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3",
    "gpt-neox",
    "opt",
    "opt-narrow",
    "phi3",
    "mixtral",
    "qwen2-moe",
    "qwen3-moe",
]
# Those whose attention gets query, key and value as the projections give them (no norm in between).
CAPTURED = [
    "bert",
    "roberta",
    "gpt2",
    "llama-tied-biased",
    "mistral",
    "qwen2",
    "gemma",
    "gemma2",
    "gpt-neox",
    "opt",
    "phi3",
    "mixtral",
    "qwen2-moe",
]


def by_path(checkpoint):
    return {matrix.path: matrix for matrix in checkpoint.matrices}


def leaf(params, path):
    for key in path.split("/"):
        params = params[key]
    return params


def paths(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_arrives_once(tiny, name):
    model, folder = tiny(name)
    checkpoint = open_checkpoint(folder)
    other_task = name in ("gpt2-classifier", "llama-classifier")  # see the test of that warning
    assert len(checkpoint.warnings) == other_task
    assert checkpoint.architecture == {"xlm": "roberta", "qwen2-moe": "qwen2_moe", "qwen3-moe": "qwen3_moe"}.get(
        name if "moe" in name else name.split("-")[0], "gpt_neox" if name == "gpt-neox" else name.split("-")[0]
    )
    leaves = dict(paths(load_params(checkpoint)))
    assert sum(leaf.size for leaf in leaves.values()) == sum(p.numel() for p in model.parameters())
    for matrix in checkpoint.matrices:
        w = matrix.read()
        assert w.shape == matrix.shape
        assert w.flags.c_contiguous
        assert not matrix.guessed
        np.testing.assert_array_equal(w, leaves[matrix.path].T)


@pytest.mark.parametrize("name", NAMES)
def test_every_unfused_matrix_is_what_its_module_applies(tiny, name):
    model, folder = tiny(name)
    modules = dict(model.named_modules())
    compared = 0
    for matrix in open_checkpoint(folder).matrices:
        module = modules.get(matrix.name.removesuffix(".weight"))
        if not isinstance(module, torch.nn.Linear | torch.nn.Embedding | transformers.pytorch_utils.Conv1D):
            continue
        w = matrix.read()
        if isinstance(module, torch.nn.Embedding):
            expected = module.weight.T  # y = W x for a one-hot x is the row of x
        else:
            inputs = w.shape[1]
            with torch.no_grad():
                expected = (module(torch.eye(inputs)) - module(torch.zeros(1, inputs))).T
        np.testing.assert_allclose(w, expected.detach().numpy(), atol=1e-6)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("name", CAPTURED)
def test_query_key_value_give_what_attention_receives(tiny, name, monkeypatch):
    """At position 0 rotary embeddings turn nothing: attention receives W x + b, head by head."""
    model, folder = tiny(name)
    received = []

    def capture(module, query, key, value, *args, **kwargs):
        received.append((query, key, value))
        heads = query.shape[1]
        return value.repeat_interleave(heads // value.shape[1], dim=1).transpose(1, 2), None

    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, "capture", capture)
    monkeypatch.setattr(model.config, "_attn_implementation", "capture")
    inputs = []
    for module in model.modules():
        if type(module).__name__.endswith(("SelfAttention", "Attention")) and hasattr(module, "config"):
            module.register_forward_pre_hook(
                lambda _, args, kwargs: inputs.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
            )
    with torch.no_grad():
        model(input_ids=torch.tensor([[7]]))
    checkpoint = open_checkpoint(folder)
    matrices, params = by_path(checkpoint), load_params(checkpoint)
    inputs = [x for x in inputs if x.ndim == 3][-len(received) :]
    assert len(received) == len(inputs) == 2
    for block, (x, states) in enumerate(zip(inputs, received, strict=True)):
        for role, state in zip(("query", "key", "value"), states, strict=True):
            path = f"blocks/{block}/attention/{role}"
            matrix = matrices[f"{path}/kernel"]
            assert (matrix.role, matrix.block) == (role, block)
            y = matrix.read() @ x[0, 0].numpy()
            if "bias" in leaf(params, path):
                y = y + leaf(params, f"{path}/bias")
            if name == "opt" and role == "query":
                y = y / np.sqrt(8)  # OPT scales its queries before attention, by the head's size
            np.testing.assert_allclose(y, state[0, :, 0].reshape(-1).numpy(), rtol=1e-4, atol=1e-4)


def test_phi3_gate_and_up(tiny):
    model, folder = tiny("phi3")
    matrices = by_path(open_checkpoint(folder))
    mlp = model.model.layers[1].mlp
    seen = {}
    mlp.activation_fn.register_forward_pre_hook(lambda _, args: seen.update(gate=args[0]))
    mlp.down_proj.register_forward_pre_hook(lambda _, args: seen.update(product=args[0]))
    x = torch.randn(1, 1, 32)
    with torch.no_grad():
        mlp(x)
    gate = matrices["blocks/1/mlp/gate/kernel"].read() @ x[0, 0].numpy()
    up = matrices["blocks/1/mlp/up/kernel"].read() @ x[0, 0].numpy()
    np.testing.assert_allclose(gate, seen["gate"][0, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(up * gate / (1 + np.exp(-gate)), seen["product"][0, 0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["mixtral", "qwen2-moe", "qwen3-moe"])
@pytest.mark.parametrize("stacked", [False, True])
def test_experts_compute_what_torch_computes(tiny, name, stacked, tmp_path):
    model, folder = tiny(name)
    if stacked:  # as the modules of transformers 5 hold them
        safetensors_torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text((folder / "config.json").read_text())
        folder = tmp_path
    checkpoint = open_checkpoint(folder)
    assert checkpoint.warnings == ()
    matrices = by_path(checkpoint)
    load_params(checkpoint)
    experts = model.model.layers[1].mlp.experts
    x = torch.randn(1, 32)
    for e in range(3):
        with torch.no_grad():
            y = experts(x, torch.tensor([[e]]), torch.ones(1, 1))[0].numpy()
        w = {part: matrices[f"blocks/1/moe/experts/{e}/{part}/kernel"] for part in ("gate", "up", "down")}
        assert {(m.role, m.block, m.expert) for m in w.values()} == {(f"mlp_{part}", 1, e) for part in w}
        gate = w["gate"].read() @ x[0].numpy()
        hidden = gate / (1 + np.exp(-gate)) * (w["up"].read() @ x[0].numpy())
        np.testing.assert_allclose(w["down"].read() @ hidden, y, rtol=1e-3, atol=1e-3)
    if stacked:
        assert "model.layers.1.mlp.experts.gate_up_proj[2]:up" in {m.name for m in checkpoint.matrices}


def test_stacked_experts_in_narrow_floats_are_left_out(tiny):
    state, config = state_of(tiny, "mixtral")
    name = "model.layers.1.mlp.experts.down_proj"
    state[name] = state[name].to(torch.float8_e4m3fn)
    checkpoint = open_checkpoint(state, config=config)
    assert not [m for m in checkpoint.matrices if m.name.startswith(name)]
    (reason,) = [s.reason for s in checkpoint.skipped if s.name == name]
    assert "mean nothing without their scales" in reason


def test_gemma3_inside_the_multimodal_wrapper(tiny):
    model, folder = tiny("gemma3-images")
    checkpoint = open_checkpoint(folder)
    text = model.model.language_model
    assert checkpoint.architecture == "gemma3"
    leaves = dict(paths(load_params(checkpoint)))
    of_text = [leaf.size for path, leaf in leaves.items() if not path.startswith("vision/")]
    assert sum(of_text) == sum(p.numel() for p in text.parameters())
    w = by_path(checkpoint)["blocks/1/mlp/down/kernel"].read()
    np.testing.assert_array_equal(w, text.layers[1].mlp.down_proj.weight.detach())
    assert {m.tower for m in checkpoint.matrices} == {"text", "vision"}
    assert sum(leaf.size for leaf in leaves.values()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("gpt2", "lm_head.weight"),
        ("llama-tied-biased", "lm_head.weight"),
        ("gemma2", "lm_head.weight"),
        ("opt", "lm_head.weight"),
        ("bert", "cls.predictions.decoder.weight"),
        ("roberta", "lm_head.decoder.weight"),
    ],
)
def test_a_tied_head_that_is_not_stored_is_named_at_the_embedding(tiny, name, head):
    _, folder = tiny(name)
    checkpoint = open_checkpoint(folder)
    assert by_path(checkpoint)["embedding/embedding"].tied == (head,)
    assert "unembedding" not in {m.role for m in checkpoint.matrices}


def state_of(tiny, name):
    model, folder = tiny(name)
    config = transformers.AutoConfig.from_pretrained(folder).to_dict()
    return {key: value.clone() for key, value in model.state_dict().items()}, config


def test_a_tied_head_stored_again_is_analysed_once(tiny):
    state, config = state_of(tiny, "gpt2")
    assert "lm_head.weight" in state
    checkpoint = open_checkpoint(state, config=config)
    embedding = by_path(checkpoint)["embedding/embedding"]
    assert embedding.tied == ("lm_head.weight",)
    assert "unembedding" not in load_params(checkpoint)
    (skipped,) = [s for s in checkpoint.skipped if s.name == "lm_head.weight"]
    assert "transformer.wte.weight" in skipped.reason


def test_a_head_that_should_be_tied_but_differs_is_analysed_too(tiny):
    state, config = state_of(tiny, "gpt2")
    state["lm_head.weight"][0, 0] += 1
    checkpoint = open_checkpoint(state, config=config)
    assert by_path(checkpoint)["embedding/embedding"].tied == ()
    assert by_path(checkpoint)["unembedding/kernel"].shape == (96, 32)
    assert any("lm_head.weight" in warning and "differ" in warning for warning in checkpoint.warnings)


def test_an_untied_head_that_repeats_the_embedding_is_analysed_once_but_kept(tiny):
    state, config = state_of(tiny, "llama")
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    checkpoint = open_checkpoint(state, config=config)
    assert by_path(checkpoint)["embedding/embedding"].tied == ("lm_head.weight",)
    assert "unembedding/kernel" not in by_path(checkpoint)
    assert load_params(checkpoint)["unembedding"]["kernel"].shape == (32, 96)


def test_a_tied_head_stored_in_place_of_the_embedding(tiny):
    state, config = state_of(tiny, "gpt2")
    del state["transformer.wte.weight"]
    checkpoint = open_checkpoint(state, config=config)
    embedding = by_path(checkpoint)["embedding/embedding"]
    assert (embedding.name, embedding.role, embedding.shape) == ("lm_head.weight", "embedding", (32, 96))
    np.testing.assert_array_equal(load_params(checkpoint)["embedding"]["embedding"], state["lm_head.weight"])


def test_legacy_names(tiny):
    """Old BERT checkpoints say gamma and beta, old GPT-NeoX ones embed_out; buffers are no parameters."""
    state, config = state_of(tiny, "bert-model")
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in state.items()
    }
    old = {f"bert.{k}": v for k, v in old.items()} | {"bert.embeddings.position_ids": torch.arange(64)[None]}
    checkpoint = open_checkpoint(old, config=config)
    assert checkpoint.warnings == ()
    new = dict(paths(load_params(open_checkpoint(state, config=config))))
    for path, value in paths(load_params(checkpoint)):
        np.testing.assert_array_equal(value, new[path])
    assert "no parameter" in next(s.reason for s in checkpoint.skipped if s.name.endswith("position_ids"))

    state, config = state_of(tiny, "gpt-neox")
    state["embed_out.weight"] = state.pop("lm_head.weight")
    state["gpt_neox.layers.0.attention.masked_bias"] = torch.tensor(-1e9)
    checkpoint = open_checkpoint(state, config=config)
    assert checkpoint.warnings == ()
    assert by_path(checkpoint)["unembedding/kernel"].name == "embed_out.weight"


def test_matrices_come_in_model_order(tiny):
    _, folder = tiny("llama")
    found = [(m.role, m.block) for m in open_checkpoint(folder).matrices]
    block = ["query", "key", "value", "attention_output", "mlp_gate", "mlp_up", "mlp_down"]
    expected = [(role, b) for b in range(2) for role in block]
    assert found == [("embedding", None), *expected, ("unembedding", None)]


def test_conversion_lists_every_mismatch_at_once(tiny):
    state, config = state_of(tiny, "llama")
    del state["model.layers.1.self_attn.q_proj.weight"]
    del state["model.norm.weight"]
    state["model.layers.0.mlp.up_proj.weight"] = torch.zeros(47, 32)
    state["model.layers.7.mlp.up_proj.weight"] = torch.zeros(48, 32)
    state["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(32)
    state["model.surprise.weight"] = torch.zeros(3, 5)
    checkpoint = open_checkpoint(state, config=config)
    with pytest.raises(CheckpointError) as error:
        load_params(checkpoint)
    message = str(error.value)
    assert "6 mismatches" in message
    assert "\n" not in message
    assert "missing layers.1.self_attn.q_proj.weight (leaf blocks/1/attention/query/kernel)" in message
    assert "missing norm.weight (leaf final_norm/scale)" in message
    assert "model.layers.0.mlp.up_proj.weight: shape [48, 32] expected from the config, got [47, 32]" in message
    assert "unexpected model.layers.7.mlp.up_proj.weight" in message
    assert "unexpected model.layers.0.self_attn.q_proj.bias" in message
    assert "unexpected model.surprise.weight [3, 5]" in message


def test_a_sweep_goes_on_over_mismatches_and_warns(tiny):
    state, config = state_of(tiny, "phi3")
    state["model.extra.q_proj.weight"] = torch.zeros(3, 5)
    state["model.layers.0.mlp.gate_up_proj.weight"] = torch.zeros(94, 32)
    checkpoint = open_checkpoint(state, config=config)
    found = {m.name: m for m in checkpoint.matrices}
    assert (found["model.extra.q_proj.weight"].role, found["model.extra.q_proj.weight"].guessed) == ("query", True)
    # It cannot be split as the config says, so it is taken whole.
    assert found["model.layers.0.mlp.gate_up_proj.weight"].shape == (94, 32)
    assert any("model.extra.q_proj.weight" in warning for warning in checkpoint.warnings)
    assert any("got [94, 32]" in warning for warning in checkpoint.warnings)


def test_two_tensors_for_one_leaf_are_a_mismatch(tiny):
    state, config = state_of(tiny, "llama")
    state["layers.0.mlp.up_proj.weight"] = state["model.layers.0.mlp.up_proj.weight"] + 1
    with pytest.raises(CheckpointError, match=r"are both the leaf blocks/0/mlp/up/kernel"):
        load_params(open_checkpoint(state, config=config))


@pytest.mark.parametrize(("name", "head"), [("gpt2-classifier", "score"), ("llama-classifier", "score")])
def test_a_decoder_with_a_classifier_is_no_language_model(tiny, name, head):
    """The blocks may be swept, but the checkpoint says that its head is another task's."""
    model, folder = tiny(name)
    checkpoint = open_checkpoint(folder)
    (warning,) = checkpoint.warnings
    assert f"{head}.weight: the head of another task ({type(model).__name__})" in warning
    assert "scored as a language model" in warning
    (matrix,) = [m for m in checkpoint.matrices if m.role == "classifier"]
    assert (matrix.name, matrix.path) == (f"{head}.weight", "classifier/output/kernel")
    np.testing.assert_array_equal(matrix.read(), getattr(model, head).weight.detach())
    assert by_path(checkpoint)["embedding/embedding"].tied == ()


def test_a_classifier_without_a_class_in_its_config_is_said_too(tiny):
    state, config = state_of(tiny, "gpt2-classifier")
    (warning,) = open_checkpoint(state, config={**config, "architectures": None}).warnings
    assert "score.weight: the head of another task (no class named)" in warning
    assert open_checkpoint(*tiny("gpt2")[1:]).warnings == ()
    assert open_checkpoint(*tiny("bert-classifier")[1:]).warnings == ()


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3",
                                  "mixtral", "qwen2-moe", "qwen3-moe"])  # fmt: skip
def test_biases_are_those_that_transformers_makes(tiny, name):
    """Whatever config.json says of biases, the class decides whether it looks; `load_params` wants what it makes."""
    model, _ = tiny(name)
    config = {**model.config.to_dict(), "attention_bias": True, "mlp_bias": True}
    torch.manual_seed(0)
    made = type(model)(type(model.config)(**{k: v for k, v in config.items() if k != "model_type"}))
    checkpoint = open_checkpoint(made.state_dict(), config={**config, "architectures": [type(model).__name__]})
    leaves = dict(paths(load_params(checkpoint)))
    assert sum(leaf.size for leaf in leaves.values()) == sum(p.numel() for p in made.parameters())
    assert any(path.endswith("query/bias") for path in leaves) == (
        any(key.endswith("q_proj.bias") for key in made.state_dict())
    )


@pytest.mark.parametrize(("name", "prefix"), [("bert", "cls.predictions"), ("roberta", "lm_head")])
@pytest.mark.parametrize("tied", [True, False])
def test_the_decoders_own_bias_is_the_one_that_is_added(tiny, tmp_path, name, prefix, tied):
    model, _ = tiny(name)
    state, config = state_of(tiny, name)
    state[f"{prefix}.decoder.bias"] = state[f"{prefix}.bias"] + 1
    config["tie_word_embeddings"] = tied
    safetensors_torch.save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = type(model).from_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    (warning,) = [w for w in checkpoint.warnings if "bias" in w]
    assert f"{prefix}.decoder.bias and {prefix}.bias differ" in warning
    head = load_params(checkpoint)["mlm"]
    np.testing.assert_array_equal(head["bias"], loaded.get_output_embeddings().bias.detach())
    np.testing.assert_array_equal(head["bias"], state[f"{prefix}.decoder.bias"])
    assert "bias" not in head.get("decoder", {})


@pytest.mark.parametrize("name", ["roberta", "roberta-classifier", "xlm-roberta", "bert"])
def test_the_family_goes_by_the_model_type(tiny, name):
    """A config.json that names no class is read as the one that does."""
    _, folder = tiny(name)
    with_class = open_checkpoint(folder)
    state, config = state_of(tiny, name)
    del config["architectures"]
    for prefix in ("", "roberta."):
        renamed = {key.replace("roberta.", prefix): value for key, value in state.items()}
        checkpoint = open_checkpoint(renamed, config=config)
        assert checkpoint.architecture == name.replace("xlm-", "").split("-")[0]
        assert checkpoint.warnings == ()
        assert {m.path: (m.role, m.tied) for m in checkpoint.matrices if not m.tied} == {
            m.path: (m.role, m.tied) for m in with_class.matrices if not m.tied
        }
        assert set(dict(paths(load_params(checkpoint)))) == set(dict(paths(load_params(with_class))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": "32"}, "hidden_size is '32'"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"head_dim": "x"}, "no usable config of a llama model: head would be 'x'"),
        ({"num_key_value_heads": [1]}, "no usable config of a llama model"),
    ],
)
def test_a_config_without_sense(change, message):
    config = {"model_type": "llama", **change}
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint({"model.norm.weight": np.ones(4)}, config=config)


def test_defaults_are_those_of_transformers():
    from eigensweep.models.families import FAMILIES

    classes = transformers.CONFIG_MAPPING
    for family in FAMILIES:
        model_type = family.model_types[0]
        config = classes[model_type]()
        for key, value in family.defaults.items():
            assert getattr(config, key) == value, (model_type, key)
