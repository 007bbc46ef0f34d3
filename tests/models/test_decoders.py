"""Every decoder known by name: role, block, expert and orientation against what torch's own modules compute."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from eigensweep.models import CheckpointError, load_params, open_checkpoint
from eigensweep.models.families import agreed_rule
from eigensweep.models.synth import write_synthetic

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
load_file = pytest.importorskip("safetensors.numpy").load_file


def beside(name):
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DECODERS = beside("tiny_decoders").DECODERS
witnesses = beside("witness").witnesses


def key_of(matrix):
    """The role, told apart where several matrices of a block have none of their own."""
    other = f"/{matrix.path.split('/')[-2]}" if matrix.role == "other" else ""
    return (matrix.block, matrix.role + other, matrix.expert)


@pytest.fixture(scope="module")
def decoders(tmp_path_factory):
    """decoders(name) -> (torch model in float64, folder as transformers saves it); every weight is random."""
    transformers.logging.set_verbosity_error()
    made = {}

    def make(name):
        if name not in made:
            model_class, config_class, config = DECODERS[name]
            torch.manual_seed(0)
            model = getattr(transformers, model_class)(getattr(transformers, config_class)(**config)).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(0.2, 0.1)
            folder = tmp_path_factory.mktemp(name)
            model.double().save_pretrained(folder)
            made[name] = (model, folder)
        return made[name]

    return make


def opened(decoders, name, naming):
    """As the hub's files name the tensors, and as the modules of transformers do."""
    model, folder = decoders(name)
    if naming == "published":
        return open_checkpoint(folder)
    config = json.loads((folder / "config.json").read_text())
    return open_checkpoint(model.state_dict(), config=config)


@pytest.mark.parametrize("name", DECODERS)
def test_every_matrix_is_what_torch_applies(decoders, name, monkeypatch):
    model, _ = decoders(name)
    seen = witnesses(model, monkeypatch)
    for naming in ("published", "modules"):
        text = [m for m in opened(decoders, name, naming).matrices if m.tower != "vision" and m.role != "convolution"]
        matrices = {key_of(matrix): matrix for matrix in text}
        assert len(matrices) == len(text)
        assert {(m.guessed, m.tower) for m in text} == {(False, "text" if "vision_config" in DECODERS[name][2] else "")}
        if model.config.tie_word_embeddings:
            seen.pop((None, "unembedding", None), None)
        assert set(matrices) == set(seen)
        for key, (x, y) in seen.items():
            w = matrices[key].read()
            assert w.shape == (len(y), len(x)), key
            np.testing.assert_allclose(w @ x, y, rtol=1e-5, err_msg=str(key))


@pytest.mark.parametrize("naming", ["published", "modules"])
@pytest.mark.parametrize("name", DECODERS)
def test_every_parameter_has_its_leaf_and_its_reason(decoders, name, naming):
    model, _ = decoders(name)
    checkpoint = opened(decoders, name, naming)
    assert checkpoint.warnings == ()
    load_params(checkpoint)  # refuses what is missing or unexpected
    stored = sum(p.numel() for p in model.parameters())
    stored += sum(b.numel() for key, b in model.state_dict().items() if key.endswith("e_score_correction_bias"))
    leaves = {leaf.path: leaf.read() for leaf in checkpoint.leaves}
    assert sum(leaf.size for leaf in leaves.values()) == stored
    whole = {}
    for matrix in checkpoint.matrices:
        cut, w = checkpoint.plan.cuts[matrix.name], matrix.read()
        if not matrix.guessed:  # trees of what is guessed hold tensors as they are stored
            np.testing.assert_array_equal(leaves[matrix.path], w.T)
        cut.put_matrix(whole.setdefault(cut.tensor.name, np.full(cut.tensor.shape, np.nan)), w)
    for tensor, array in whole.items():  # its matrices are all of it, and go back to their places
        np.testing.assert_array_equal(array, checkpoint.source.tensors[tensor].read())
    swept = {checkpoint.plan.cuts[matrix.name].tensor.name for matrix in checkpoint.matrices}
    left_out = {skipped.name for skipped in checkpoint.skipped}
    assert swept | left_out == {*checkpoint.source.tensors, *checkpoint.source.aliases}
    assert not swept & left_out


@pytest.mark.parametrize("name", [name for name in DECODERS if "vision_config" in DECODERS[name][2]])
def test_towers_of_images_are_swept_with_guessed_roles(decoders, name):
    checkpoint = open_checkpoint(decoders(name)[1])
    vision = [m for m in checkpoint.matrices if m.tower == "vision"]
    assert {"mlp_up", "attention_output"} & {m.role for m in vision}
    known = {m.name for m in vision if not m.guessed}
    assert known == {"multi_modal_projector.mm_input_projection_weight"} & {m.name for m in vision}
    assert not {leaf.path.split("/")[0] for leaf in checkpoint.leaves} & {"vision_tower", "visual", "model"}


def test_gemmas_projector_lies_in_out(decoders):
    """Its module multiplies from the left: y = x W."""
    model, folder = decoders("gemma3-images")
    (matrix,) = [m for m in open_checkpoint(folder).matrices if m.name.endswith("mm_input_projection_weight")]
    x = np.random.default_rng(0).standard_normal(16)
    y = torch.matmul(torch.tensor(x), model.model.multi_modal_projector.mm_input_projection_weight.detach())
    np.testing.assert_allclose(matrix.read() @ x, y)


# Of PhiMoE's experts transformers reads w1, w2 and w3 alone, and no checkpoint of noise has a vision tower.
@pytest.mark.parametrize("name", [n for n in DECODERS if "vision_config" not in DECODERS[n][2] and n != "phi-moe"])
def test_synthetic_checkpoints_load_into_torch(decoders, tmp_path, name):
    model, folder = decoders(name)
    write_synthetic(tmp_path / "out", json.loads((folder / "config.json").read_text()), dtype="float32", spikes=1)
    checkpoint = open_checkpoint(tmp_path / "out")
    assert checkpoint.warnings == ()
    load_params(checkpoint)
    made, info = type(model).from_pretrained(tmp_path / "out", output_loading_info=True, dtype=torch.float32)
    assert not [key for key in info["missing_keys"] if ".norms." not in key]  # StableLM's, which need not be there
    assert not info["unexpected_keys"]
    assert sum(p.numel() for p in made.parameters()) == sum(p.numel() for p in model.parameters())


def test_blocks_that_predict_further_tokens(decoders):
    """DeepSeek V3 is published with one block more than its depth, which transformers does not load."""
    model, folder = decoders("deepseek-v3")
    config = json.loads((folder / "config.json").read_text())
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    further = {k.replace("layers.1.", "layers.2."): v + 1 for k, v in state.items() if "layers.1." in k}
    further |= {f"model.layers.2.{name}.weight": np.ones(24) for name in ("enorm", "hnorm", "shared_head.norm")}
    projection = np.random.default_rng(0).standard_normal((24, 48))
    further["model.layers.2.eh_proj.weight"] = projection
    further["model.layers.2.embed_tokens.weight"] = state["model.embed_tokens.weight"]
    further["model.layers.2.shared_head.head.weight"] = state["lm_head.weight"]
    checkpoint = open_checkpoint(state | further, config=config)
    assert checkpoint.warnings == ()
    load_params(checkpoint)
    plain = open_checkpoint(state, config=config).matrices
    matrices = {m.name: m for m in checkpoint.matrices}
    assert {m.block for m in checkpoint.matrices if m not in plain} >= {2}
    assert sum(m.block == 1 for m in plain) + 1 == sum(m.block == 2 for m in checkpoint.matrices)
    np.testing.assert_array_equal(matrices["model.layers.2.eh_proj.weight"].read(), projection)
    assert matrices["model.embed_tokens.weight"].tied == ("model.layers.2.embed_tokens.weight",)
    assert matrices["lm_head.weight"].tied == ("model.layers.2.shared_head.head.weight",)
    with_one_more = {k.replace("layers.1.", "layers.3."): v for k, v in state.items() if "layers.1." in k}
    assert "the config has 2 blocks" in open_checkpoint(state | further | with_one_more, config=config).warnings[0]


def test_published_configs_without_a_text_config(decoders):
    """Qwen2-VL's config.json holds the text model's sizes at the top, Mamba's and BLOOM's files other names."""
    _, folder = decoders("qwen2-images")
    config = json.loads((folder / "config.json").read_text())
    text = config.pop("text_config")
    flat = open_checkpoint(load_file(folder / "model.safetensors"), config={**text, **config})
    nested = open_checkpoint(folder)
    assert [(m.name, m.role, m.tower) for m in flat.matrices] == [(m.name, m.role, m.tower) for m in nested.matrices]
    assert flat.warnings == ()
    for name, old, new in (("bloom", "transformer.", ""), ("mamba", "backbone.embeddings.", "backbone.embedding.")):
        _, folder = decoders(name)
        config = json.loads((folder / "config.json").read_text())
        if name == "bloom":
            config["n_embed"], config["num_attention_heads"] = config.pop("hidden_size"), config.pop("n_head")
        renamed = {key.replace(old, new): value for key, value in load_file(folder / "model.safetensors").items()}
        checkpoint = open_checkpoint(renamed, config=config)
        assert checkpoint.warnings == ()
        assert [m.path for m in checkpoint.matrices] == [m.path for m in open_checkpoint(folder).matrices]


def test_adapters_of_plain_attention_are_not_taken_for_gated_ones():
    """Qwen3-Next alone keeps a gate beside the queries; an adapter's names do not tell it from the others."""
    rule, block, _ = agreed_rule("model.layers.7.self_attn.q_proj.weight")
    assert ([part.role for part in rule.parts], block) == (["query"], 7)
    assert agreed_rule("model.layers.0.mixer.in_proj.weight") is None  # Mamba 1 or 2


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("falcon-grouped", {"num_kv_heads": 3}, "do not fall into 3 groups"),
        ("falcon-by-head", {"num_attention_heads": 5}, "5 heads do not divide hidden_size 24"),
        ("qwen3-next", {"linear_num_key_heads": 3}, "do not fall into 3 equal groups"),
        ("deepseek-v3", {"num_nextn_predict_layers": 10**9}, "num_nextn_predict_layers is 1000000000"),
        ("deepseek-v3", {"n_routed_experts": 10**9}, "n_routed_experts is 1000000000"),
        ("mamba", {"time_step_rank": [1]}, "no usable config of a mamba model"),
        ("jamba", {"attn_layer_period": -1}, "attn_layer_period is -1"),
        ("llama4", {"moe_layers": 3}, "no usable config of a llama4 model"),
        ("mpt", {"n_layers": 10**8}, "n_layers is 100000000"),
    ],
)
def test_configs_without_sense(decoders, name, change, message):
    config = json.loads((decoders(name)[1] / "config.json").read_text())
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint({"model.norm.weight": np.ones(4)}, config={**config, **change})
