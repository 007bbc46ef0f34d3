"""Encoders, encoder-decoders and towers of images: every matrix against what transformers' torch modules compute."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from eigensweep.models import load_params, open_checkpoint
from eigensweep.models.families import FAMILIES

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

spec = importlib.util.spec_from_file_location("probing", Path(__file__).with_name("probing.py"))
probing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(probing)

IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 20,
    **IDS,
}
DISTIL = {"vocab_size": 50, "dim": 24, "hidden_dim": 40, "n_layers": 2, "n_heads": 3, "max_position_embeddings": 20}
T5 = {"vocab_size": 50, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 3}
BART = {
    "vocab_size": 50,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 44,
    **IDS,
}
WHISPER = {
    **BART,
    "num_mel_bins": 5,
    "max_source_positions": 18,
    "max_target_positions": 14,
    "decoder_start_token_id": 1,
}
IMAGE = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 12,
    "patch_size": 4,
}
CLIP = {
    "text_config": {**BERT, "hidden_size": 28, "num_attention_heads": 2, "num_hidden_layers": 3, "projection_dim": 10},
    "vision_config": {**IMAGE, "projection_dim": 10},
    "projection_dim": 10,
}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
V3 = {
    **RELATIVE,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_buckets": 8,
    "max_relative_positions": -1,
}
V2 = {**RELATIVE, "share_att_key": False, "conv_kernel_size": 3, "conv_act": "gelu"}

# What the torch modules are, by the end of their names; the first that fits decides.
ENDS = {
    "query": ("self.query", "query_proj", "attention.query", "q_lin", "q_proj", "SelfAttention.q", "EncDecAttention.q"),
    "key": ("self.key", "key_proj", "attention.key", "k_lin", "k_proj", "SelfAttention.k", "EncDecAttention.k"),
    "value": ("self.value", "value_proj", "attention.value", "v_lin", "v_proj", "SelfAttention.v", "EncDecAttention.v"),
    "attention_output": (
        *("attention.output.dense", "attention.dense", "attention.out_lin", "attention.o_proj", "self_attn.out_proj"),
        *("encoder_attn.out_proj", "SelfAttention.o", "EncDecAttention.o", "attn.Wo"),
    ),
    "mlp_up": ("intermediate.dense", "albert_layers.0.ffn", "lin1", "fc1", "wi", "wi_1"),
    "mlp_gate": ("wi_0",),
    "mlp_down": ("output.dense", "ffn_output", "lin2", "fc2", "wo", "mlp.Wo"),
    "embedding": ("word_embeddings", "tok_embeddings", "token_embedding", "embed_tokens", "shared"),
    "position_embedding": (
        "position_embeddings",
        "position_embedding",
        "embed_positions",
        "rel_embeddings",
        "embeddings",
    ),
    "convolution": ("patch_embeddings.projection", "patch_embedding", "conv.conv", "conv1", "conv2", "decoder.0"),
    "pooler": ("pooler", "pooler.dense"),
    "unembedding": ("lm_head", "generator_lm_head", "predictions.decoder", "vocab_projector", "proj_out", "decoder"),
    "other": (
        *("token_type_embeddings", "embedding_hidden_mapping_in", "embeddings_project", "visual_projection"),
        *(
            "text_projection",
            "vocab_transform",
            "transform.dense",
            "lm_head.dense",
            "predictions.dense",
            "head.dense",
            "generator_predictions.dense",
        ),
    ),
    "classifier": (
        "classifier",
        "pre_classifier",
        "classifier.dense",
        "out_proj",
        "discriminator_predictions.dense",
        "dense_prediction",
    ),
}
OWN_POSITIONS = {"pos_key_proj": "position_key", "pos_query_proj": "position_query"}
HEAD = {"discriminator_predictions.dense": "classifier", "classification_head.dense": "classifier"}


def role_of(module):
    name = f".{module}"
    for ends in (OWN_POSITIONS, HEAD):
        if found := [role for end, role in ends.items() if name.endswith(f".{end}") or module == end]:
            return found[0]
    for role, ends in ENDS.items():
        if any(name.endswith(f".{end}") for end in ends):
            return role
    raise AssertionError(f"{module}: no role is written down for it")


def tower_of(module, towers):
    if "vision" in towers:
        return "text" if "text" in module else "vision"
    if not towers or "shared" in module or module.startswith(("classification_head", "qa_outputs")):
        return ""
    if not module.removeprefix("model.").startswith(("encoder", "decoder")):
        return "decoder"  # the head
    tower = module.removeprefix("model.").split(".")[0]
    return f"{tower}.cross" if re.search("encoder_attn|EncDecAttention", module) else tower


def block_of(module):
    found = re.search(r"(?:^|[.])(?:layer|layers|block|albert_layer_groups)[.](\d+)[.]", module)
    return int(found[1]) if found else None


ENCODER_DECODER, CONTRAST = ("encoder", "decoder"), ("vision", "text")
# name: (class, config class, config, towers)
CASES = {
    "distilbert": ("DistilBertForMaskedLM", "DistilBertConfig", DISTIL, ()),
    "distilbert-classifier": ("DistilBertForSequenceClassification", "DistilBertConfig", DISTIL, ()),
    "electra": ("ElectraForMaskedLM", "ElectraConfig", {**BERT, "embedding_size": 16}, ()),
    "electra-discriminator": ("ElectraForPreTraining", "ElectraConfig", {**BERT, "embedding_size": 24}, ()),
    "electra-classifier": ("ElectraForSequenceClassification", "ElectraConfig", {**BERT, "embedding_size": 16}, ()),
    "xlm-roberta": ("XLMRobertaForMaskedLM", "XLMRobertaConfig", BERT, ()),
    "modernbert": ("ModernBertForMaskedLM", "ModernBertConfig", BERT, ()),
    "modernbert-biased": (
        "ModernBertForSequenceClassification",
        "ModernBertConfig",
        {**BERT, "attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True},
        (),
    ),
    "albert": ("AlbertForPreTraining", "AlbertConfig", {**BERT, "embedding_size": 16, "num_hidden_groups": 2}, ()),
    "albert-masked": ("AlbertForMaskedLM", "AlbertConfig", {**BERT, "embedding_size": 16, "num_hidden_layers": 5}, ()),
    "deberta-v2": ("DebertaV2ForMaskedLM", "DebertaV2Config", {**BERT, **V2}, ()),
    "deberta-v3": (
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        {**BERT, **V3, "position_biased_input": False},
        (),
    ),
    "deberta-v3-masked": ("DebertaV2ForMaskedLM", "DebertaV2Config", {**BERT, **V3, "legacy": False}, ()),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5, ENCODER_DECODER),
    "t5-gated": ("T5ForConditionalGeneration", "T5Config", {**T5, "feed_forward_proj": "gated-gelu"}, ENCODER_DECODER),
    "t5-encoder": ("T5EncoderModel", "T5Config", T5, ENCODER_DECODER),
    "mt5": ("MT5ForConditionalGeneration", "MT5Config", T5, ENCODER_DECODER),
    "umt5": ("UMT5Model", "UMT5Config", T5, ENCODER_DECODER),
    "bart": ("BartForConditionalGeneration", "BartConfig", {**BART, "max_position_embeddings": 20}, ENCODER_DECODER),
    "bart-classifier": (
        "BartForSequenceClassification",
        "BartConfig",
        {**BART, "max_position_embeddings": 20},
        ENCODER_DECODER,
    ),
    "mbart": ("MBartModel", "MBartConfig", {**BART, "max_position_embeddings": 20}, ENCODER_DECODER),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", WHISPER, ENCODER_DECODER),
    "vit": ("ViTForImageClassification", "ViTConfig", IMAGE, ()),
    "vit-model": ("ViTModel", "ViTConfig", {**IMAGE, "num_channels": 1, "qkv_bias": False}, ()),
    "vit-masked": ("ViTForMaskedImageModeling", "ViTConfig", {**IMAGE, "encoder_stride": 4}, ()),
    "clip": ("CLIPModel", "CLIPConfig", CLIP, CONTRAST),
    "clip-classifier": ("CLIPForImageClassification", "CLIPConfig", CLIP, CONTRAST),
    "clip-vision": ("CLIPVisionModelWithProjection", "CLIPVisionConfig", CLIP["vision_config"], ()),
    "clip-text": ("CLIPTextModel", "CLIPTextConfig", CLIP["text_config"], ()),
    "clip-text-projection": ("CLIPTextModelWithProjection", "CLIPTextConfig", CLIP["text_config"], ()),
}
ARCHITECTURE = {
    "xlm": "roberta", "clip-vision": "clip_vision", "clip-text": "clip_text", "clip-text-projection": "clip_text",
    "deberta": "deberta-v2",
}  # fmt: skip


@pytest.fixture(scope="module")
def made():
    """made(name) -> a torch model whose every weight is random."""
    models = {}

    def make(name):
        if name not in models:
            model_class, config_class, config, _ = CASES[name]
            torch.manual_seed(0)
            model = getattr(transformers, model_class)(getattr(transformers, config_class)(**config)).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(0.5, 0.2)
            models[name] = model
        return models[name]

    return make


@pytest.fixture(scope="module")
def opened(made, tmp_path_factory):
    """opened(name, saved) -> the checkpoint that transformers writes, or the module's own names."""

    def open_(name, saved):
        model = made(name)
        if saved:
            folder = tmp_path_factory.mktemp(name)
            model.save_pretrained(folder)
            return open_checkpoint(folder)
        config = {**model.config.to_dict(), "architectures": [type(model).__name__]}
        return open_checkpoint(dict(model.state_dict()), config=config)

    return open_


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "module"])
@pytest.mark.parametrize("name", CASES)
def test_every_matrix_is_what_its_module_applies(made, opened, name, saved):
    model, checkpoint, towers = made(name), opened(name, saved), CASES[name][3]
    assert checkpoint.warnings == ()
    assert checkpoint.architecture == ARCHITECTURE.get(name, ARCHITECTURE.get(name.split("-")[0], name.split("-")[0]))
    shares = probing.check(model, checkpoint, lambda m: (role_of(m), tower_of(m, towers), block_of(m)))
    assert bool(shares) == name.startswith("modernbert")
    leaves = load_params(checkpoint)
    assert leaves
    if towers == ENCODER_DECODER and name != "t5-encoder":
        assert {"encoder", "decoder", "decoder.cross"} <= {m.tower for m in checkpoint.matrices}


@pytest.mark.parametrize("name", ["modernbert", "modernbert-biased"])
def test_modernberts_fused_weights_are_split_as_torch_splits_them(made, opened, name, monkeypatch):
    """At position 0 rotary embeddings turn nothing: attention receives W x + b, head by head."""
    model, checkpoint = made(name), opened(name, True)
    matrices = {(m.block, m.role): m for m in checkpoint.matrices}
    assert {(m.tower, m.name.rpartition(":")[2]) for m in checkpoint.matrices if ":" in m.name} == {
        ("", label) for label in ("query", "key", "value", "gate", "up")
    }
    params = load_params(checkpoint)["blocks"]
    received = []

    def capture(module, query, key, value, *args, **kwargs):
        received.append((query, key, value))
        return value.transpose(1, 2), None

    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, "capture", capture)
    monkeypatch.setattr(model.config, "_attn_implementation", "capture")
    states, seen = [], []
    hooks = []
    for layer in model.model.layers:
        hooks += [
            layer.attn.register_forward_pre_hook(lambda _, args: states.append(args[0])),
            layer.mlp.register_forward_pre_hook(lambda _, args: seen.append({"x": args[0]})),
            layer.mlp.act.register_forward_pre_hook(lambda _, args: seen[-1].update(gate=args[0])),
            layer.mlp.Wo.register_forward_pre_hook(lambda _, args: seen[-1].update(product=args[0])),
        ]
    with torch.no_grad():
        model(input_ids=torch.tensor([[7]]))
    for hook in hooks:
        hook.remove()
    for block in range(2):

        def affine(place, leaf, role, x, block=block):
            bias = params[str(block)][place][leaf].get("bias", 0)
            return matrices[block, role].read() @ x[0, 0].numpy() + bias

        for role, state in zip(("query", "key", "value"), received[block], strict=True):
            y = affine("attention", role, role, states[block])
            np.testing.assert_allclose(y, state[0, :, 0].reshape(-1).numpy(), rtol=1e-4, atol=1e-4)
        x = seen[block]["x"]
        gate, up = affine("mlp", "gate", "mlp_gate", x), affine("mlp", "up", "mlp_up", x)
        np.testing.assert_allclose(gate, seen[block]["gate"][0, 0].numpy(), rtol=1e-4, atol=1e-4)
        active = torch.nn.functional.gelu(torch.tensor(gate)).numpy()
        np.testing.assert_allclose(active * up, seen[block]["product"][0, 0].numpy(), rtol=1e-3, atol=1e-3)


def published(name, state):
    """The weights under the names of the published files, where they differ from transformers'."""
    match name:
        case "bart":
            return {key.removeprefix("model."): value for key, value in state.items()}
        case "clip-text" | "clip-vision":
            prefix = {"clip-text": "text_model.", "clip-vision": "vision_model."}[name]
            ids = {"embeddings.position_ids": torch.arange(20)[None]}
            return {
                key if key.startswith(("visual", prefix)) else prefix + key: value
                for key, value in {**state, **ids}.items()
            }
        case "deberta-v3-masked":
            named = {key.replace("cls.lm_head", "lm_predictions.lm_head"): value for key, value in state.items()}
            return named | {"mask_predictions.dense.weight": torch.ones(24, 24)}
        case "t5":
            key = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
            return {**state, key: torch.ones(32, 3)}
    return {key: value for key, value in state.items() if "proj_out" not in key}


@pytest.mark.parametrize("name", ["bart", "clip-text", "clip-vision", "deberta-v3-masked", "t5", "whisper"])
def test_published_files_read_the_same(made, opened, name):
    model, own = made(name), opened(name, True)
    config = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    checkpoint = open_checkpoint(published(name, dict(model.state_dict())), config=config)
    assert checkpoint.warnings == ()
    assert load_params(checkpoint)

    def facts(of):
        return {m.path: (m.role, m.tower, m.block, m.shape, m.tied != ()) for m in of.matrices}

    assert facts(checkpoint) == facts(own)


def test_a_head_of_t5_that_is_not_the_embedding_is_analysed_too(made):
    model = made("t5-gated")
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state["lm_head.weight"] += 1
    config = {**model.config.to_dict(), "architectures": [type(model).__name__], "tie_word_embeddings": False}
    checkpoint = open_checkpoint(state, config=config)
    assert checkpoint.warnings == ()
    (head,) = [m for m in checkpoint.matrices if m.role == "unembedding"]
    assert (head.tower, head.name, head.path) == ("decoder", "lm_head.weight", "unembedding/kernel")
    np.testing.assert_array_equal(head.read(), state["lm_head.weight"])


def test_towers_follow_each_other(opened):
    found = [m.tower for m in opened("t5", True).matrices]
    assert found == sorted(found, key=["", "encoder", "decoder", "decoder.cross"].index) or found[0] == ""
    stacks = [tower.split(".")[0] for tower in found]
    assert stacks == sorted(stacks, key=["", "encoder", "decoder"].index)
    stacks = [m.tower for m in opened("clip", True).matrices]
    assert stacks == sorted(stacks, key=["vision", "text"].index)


def test_defaults_of_both_towers_are_those_of_transformers(made):
    (clip,) = [family for family in FAMILIES if family.name == "clip"]
    usual = transformers.CLIPConfig(text_config={}, vision_config={}).to_dict()
    assert clip.dims({"projection_dim": 512}) == clip.dims(usual)


def test_a_config_that_leaves_out_its_towers_sizes(made, tmp_path):
    model = made("clip")
    config = json.loads(model.config.to_json_string())
    del config["text_config"]["num_attention_heads"], config["vision_config"]["num_channels"]
    assert open_checkpoint(dict(model.state_dict()), config=config).warnings == ()


@pytest.mark.parametrize("groups", [1, 6])
def test_mambas_convolution_is_its_channels_filters(groups):
    """Depthwise: of (channels, 1, taps) the rows are the filters; and one that mixes channels, for comparison."""
    torch.manual_seed(0)
    module = torch.nn.Conv1d(6, 6, 4, groups=groups, padding=3)
    found = open_checkpoint({"layers.0.mixer.conv1d.weight": module.weight.detach()})
    (matrix,) = found.matrices
    assert (matrix.role, matrix.block, matrix.guessed) == ("convolution", 0, True)
    np.testing.assert_allclose(matrix.read(), probing.applied(module), atol=1e-6)


def test_the_convolutions_of_mamba():
    torch.manual_seed(0)
    config = transformers.MambaConfig(hidden_size=8, num_hidden_layers=2, vocab_size=20, state_size=4, expand=2)
    model = transformers.MambaForCausalLM(config)
    found = open_checkpoint(dict(model.state_dict()), config={**config.to_dict(), "model_type": "mamba"}).matrices
    found = [m for m in found if m.role == "convolution"]
    assert [(m.block, m.shape, m.guessed) for m in found] == [(0, (16, 4), False), (1, (16, 4), False)]
    for matrix, layer in zip(found, model.backbone.layers, strict=True):
        np.testing.assert_allclose(matrix.read(), probing.applied(layer.mixer.conv1d), atol=1e-6)
