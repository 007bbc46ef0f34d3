"""From a checkpoint to a model: heads and ties as stored, one leaf at a time, whole, in parts, from either layout."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigensweep.models import CheckpointError, convert, nn, open_checkpoint
from eigensweep.models.plan import Leaf

jax.config.update("jax_enable_x64", True)

SMALL = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 16,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
IDS = np.random.default_rng(0).integers(1, 40, (2, 9)).astype(np.int32)


def stored(class_name, **settings):
    """A random torch model, its state as arrays and its config."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    cls = getattr(transformers, class_name)
    reference = cls(cls.config_class(**{**SMALL, **settings})).eval()
    state = {key: value.numpy().copy() for key, value in reference.state_dict().items()}
    return reference, state, {**reference.config.to_dict(), "architectures": [class_name]}


def logits_of(reference):
    import torch

    with torch.no_grad():
        return reference(torch.tensor(IDS.astype(int)))


def test_heads_for_other_tasks_are_left_out_and_labels_counted():
    reference, state, config = stored("BertForPreTraining")
    model, params = nn.load(open_checkpoint(state, config=config))
    assert model.heads == ("pooler", "mlm")
    expected = logits_of(reference).prediction_logits.numpy()
    np.testing.assert_allclose(model.apply(params, IDS, head="mlm").logits, expected, atol=2e-5)
    _, state, config = stored("RobertaForQuestionAnswering")
    assert nn.model_of(open_checkpoint(state, config=config)).heads == ()
    _, state, config = stored("RobertaForSequenceClassification", num_labels=4)
    del config["id2label"]
    assert nn.model_of(open_checkpoint(state, config=config)).architecture.num_labels == 4


def test_ties_are_those_of_the_stored_weights():
    _, state, config = stored("GPT2LMHeadModel", tie_word_embeddings=False)
    state["lm_head.weight"] = state["transformer.wte.weight"]
    del config["architectures"]
    model, params = nn.load(open_checkpoint(state, config=config))
    assert model.heads == ("unembedding",)  # the config unties it, so it is a leaf of its own, though it repeats
    output = model.apply(params, IDS)
    np.testing.assert_allclose(output.logits, output.hidden @ params["embedding"]["embedding"].T, atol=1e-5)
    reference, state, config = stored("LlamaForCausalLM", tie_word_embeddings=False)
    model, params = nn.load(open_checkpoint(state, config={**config, "tie_word_embeddings": True}))
    assert model.heads == ("unembedding",)
    np.testing.assert_allclose(model.apply(params, IDS).logits, logits_of(reference).logits.numpy(), atol=2e-5)
    parts = nn.reader(open_checkpoint(state, config=config), model)("head")
    assert parts.keys() == {"final_norm", "unembedding"}


def test_a_base_model_has_no_language_head():
    _, state, config = stored("LlamaModel")
    model, params = nn.load(open_checkpoint(state, config=config))
    assert model.apply(params, IDS).logits is None
    assert model.apply(params, IDS).hidden.shape == (2, 9, 24)
    with pytest.raises(CheckpointError, match="no 'unembedding' head, which this needs; heads it has: none"):
        model.apply(params, IDS, head="unembedding")


def test_leaves_are_placed_one_by_one(monkeypatch):
    _, state, config = stored("LlamaForCausalLM")
    waiting, read = [], Leaf.read

    def counted(leaf):
        array = read(leaf)
        waiting.append(leaf.path)
        return array

    def put(array, where):
        assert len(waiting) == 1, "two leaves were read before the first one was placed"
        waiting.clear()
        return placed(array, where)

    placed = jax.device_put
    monkeypatch.setattr(Leaf, "read", counted)
    monkeypatch.setattr(jax, "device_put", put)
    _, params = nn.load(open_checkpoint(state, config=config), param_dtype="bfloat16")
    assert {leaf.dtype for _, leaf in nn.walk(params)} == {jnp.dtype(jnp.bfloat16)}


def test_placing_lets_go_of_the_host_tree():
    tree = {"a": {"kernel": np.ones((2, 3), np.float32)}, "b": {"bias": np.zeros(3, np.float32)}}
    kept = nn.place(tree, keep=True)
    assert dict(nn.walk(tree)).keys() == {"a/kernel", "b/bias"}
    placed = nn.place(tree)
    assert tree == {}
    assert all(isinstance(leaf, jax.Array) for _, leaf in nn.walk(placed))
    np.testing.assert_array_equal(placed["a"]["kernel"], kept["a"]["kernel"])


def test_the_converted_checkpoint_gives_the_same_logits(tmp_path, shared):
    source = open_checkpoint(shared / "checkpoints" / "llama-stories260k")
    convert(source, tmp_path / "orbax")
    ids = np.arange(1, 40, dtype=np.int32)[None]
    model, params = nn.load(source)
    converted, more = nn.load(open_checkpoint(tmp_path / "orbax"))
    assert converted == model
    np.testing.assert_array_equal(model.apply(params, ids).logits, converted.apply(more, ids).logits)


def test_checkpoints_that_cannot_run_say_so():
    with pytest.raises(CheckpointError, match=r"no config.json, which the forward pass needs"):
        nn.load(open_checkpoint({"w": np.ones((3, 4), np.float32)}))
    _, state, config = stored("LlamaForCausalLM")
    del state["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(CheckpointError, match=r"missing layers.1.mlp.up_proj.weight"):
        nn.load(open_checkpoint(state, config=config))
    with pytest.raises(CheckpointError, match="no forward pass for model_type 'falcon'"):
        nn.build({**config, "model_type": "falcon"})


@pytest.mark.parametrize(
    "name", ["GPT2ForSequenceClassification", "LlamaForSequenceClassification", "GPT2ForTokenClassification"]
)
def test_a_tasks_head_on_a_causal_model_is_refused(name):
    _, state, config = stored(name)
    with pytest.raises(CheckpointError, match=rf"on a causal model \({name}\) is not supported in forward"):
        nn.model_of(open_checkpoint(state, config=config))
    state = {path: tensor for path, tensor in state.items() if not path.startswith(("score", "classifier"))}
    nn.model_of(open_checkpoint(state, config=config | {"architectures": [name.split("For")[0] + "Model"]}))


@pytest.mark.parametrize("name", ["BertForMaskedLM", "RobertaForMaskedLM"])
def test_an_untied_decoder_has_its_own_bias_and_no_other(name):
    import torch

    reference, state, config = stored(name, tie_word_embeddings=False)
    head = "cls.predictions" if name[0] == "B" else "lm_head"
    generator = np.random.default_rng(0)
    for path in (f"{head}.bias", f"{head}.decoder.bias"):
        state[path] = generator.standard_normal(40).astype(np.float32)
    reference.load_state_dict({path: torch.tensor(array) for path, array in state.items()})
    checkpoint = open_checkpoint(state, config=config)
    checkpoint.plan = replace(checkpoint.plan, mismatches=())
    model, params = nn.load(checkpoint)
    np.testing.assert_array_equal(params["mlm"]["bias"], state[f"{head}.decoder.bias"])
    ids = IDS + 1 if name[0] == "R" else IDS
    with torch.no_grad():
        expected = reference(torch.tensor(ids.astype(int) % 40)).logits.numpy()
    np.testing.assert_allclose(model.apply(params, ids % 40).logits, expected, atol=2e-5)


@pytest.mark.parametrize("name", ["MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "GemmaForCausalLM"])
def test_biases_are_those_of_the_class_whatever_the_config_says(name):
    reference, _, config = stored(name, head_dim=8, num_key_value_heads=3, mlp_bias=True, attention_bias=True)
    paths = {path.replace("self_attn.", "") for path, _ in reference.named_parameters() if path.endswith("bias")}
    arch = nn.architecture(config)
    assert arch.mlp_bias == any("mlp" in path for path in paths)
    assert arch.qkv_bias == any("q_proj" in path for path in paths)
    assert arch.output_bias == any("o_proj" in path for path in paths)


def test_an_adapter_is_no_whole_model(shared):
    folder = next((shared / "checkpoints" / "roberta-lora-series").rglob("adapter_config.json")).parent
    with pytest.raises(CheckpointError, match="a LoRA adapter is no whole model; merge it"):
        nn.model_of(open_checkpoint(folder))
